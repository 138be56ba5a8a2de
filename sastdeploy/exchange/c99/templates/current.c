const int32_t kept = state->@state@[neuron];
int32_t current = @decayed@ + @gained@ + @bias@;

if (current < @low@) {
    COUNT(overflow_low[@i@], 1);@below@
} else if (current > @high@) {
    COUNT(overflow_high[@i@], 1);@above@
}@wrap@
state->@state@[neuron] = (@type@)current;
