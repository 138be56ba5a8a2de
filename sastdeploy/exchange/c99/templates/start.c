static void begin@i@(@name@_state *state)
{
    uint32_t channel, place, neuron = 0;

    for (channel = 0; channel < @channels@u; channel++) {
        for (place = 0; place < @places@u; place++, neuron++) {
            @starts@
        }
    }
}
