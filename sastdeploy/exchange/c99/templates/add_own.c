static void own@i@(@name@_state *state)
{
    uint32_t neuron, n;

    for (neuron = 0; neuron < @outputs@u; neuron++) {
        const uint32_t first = neuron * @outputs@u;

        if (!state->spiked@i@[neuron]) {
            continue;
        }
        for (n = 0; n < @outputs@u; n++) {
            state->@sums@[n] = (@type@)(state->@sums@[n] + @weight@);
        }
    }
}
