static void run@i@(@name@_state *state)
{
    uint32_t channel, place, neuron = 0;

    for (channel = 0; channel < @channels@u; channel++) {
        for (place = 0; place < @places@u; place++, neuron++) {
            const int32_t sum = state->@sums@[place * @channels@u + channel];
            const int32_t u = state->@membrane@[neuron];
            const int32_t threshold = @threshold@;
            @current@
            const int32_t leak = @leak@;
            int32_t v = @update@;
            int32_t spike;

            if (v < @low@) {
                COUNT(overflow_low[@i@], 1);@below@
            } else if (v > @high@) {
                COUNT(overflow_high[@i@], 1);@above@
            }@wrap@
            spike = @spikes@;@at_once@
            state->@membrane@[neuron] = (@type@)v;
            @NAME@_TRACE(@i@, neuron, v, spike);
            @send@
        }
    }
}
