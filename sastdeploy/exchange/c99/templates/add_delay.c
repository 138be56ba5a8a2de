static void add@i@(@name@_state *state, uint32_t input, int32_t count)
{
    const uint32_t slot = (state->steps + @delay@) % @slots@u;

    state->@sums@[slot * @count@u + input] = (uint8_t)count;
}
