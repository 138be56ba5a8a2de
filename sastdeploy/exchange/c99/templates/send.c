static void run@i@(@name@_state *state)
{
    uint32_t n;

    for (n = 0; n < @count@u; n++) {
        if (state->@sums@[n] > 0) {
            add@next@(state, n, state->@sums@[n]);
        }
    }
}
