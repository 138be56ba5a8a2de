static void run@i@(@name@_state *state)
{
    uint8_t *arrived = state->@sums@ + state->steps % @slots@u * @count@u;
    uint32_t n;

    for (n = 0; n < @count@u; n++) {
        if (arrived[n] > 0) {
            add@next@(state, n, arrived[n]);
            arrived[n] = 0;
        }
    }
}
