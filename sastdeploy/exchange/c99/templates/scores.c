void @name@_scores(const @name@_state *state, int32_t scores[@NAME@_CLASSES])
{
    uint32_t channel;

    for (channel = 0; channel < @NAME@_CLASSES; channel++) {
        const int32_t sum = state->class_sum[channel];

        scores[channel] = @gained@ + (int32_t)state->steps * @bias@;
    }
}
