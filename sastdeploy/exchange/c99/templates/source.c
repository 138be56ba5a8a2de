/*
 * @title@. Written by sastdeploy @version@; every number in it is proven to stay inside its type.
 *
 * Program @hash@
 */
#include "@name@.h"

#include <string.h>

/* Called for every neuron at every step with its layer, its number, and its new membrane and spike. */
#ifndef @NAME@_TRACE
#define @NAME@_TRACE(layer, neuron, membrane, spike) ((void)0)
#endif

#ifdef @NAME@_COUNT
#define COUNT(counter, amount) (state->counter += (amount))
#else
#define COUNT(counter, amount) ((void)0)
#endif
@helpers@
@code@
/* Send the inputs' sums through all layers. */
static void forward(@name@_state *state)
{
    @forward@
    state->steps++;
}

void @name@_reset(@name@_state *state)
{
    memset(state, 0, sizeof *state);@starts@
}

static void take(@name@_state *state, uint32_t input, uint32_t count)
{
    if (count > 0) {
        @taken@
    }
}

int @name@_step(@name@_state *state, const @name@_event *events, uint32_t length)
{
    uint32_t n;

    if (state->steps >= @NAME@_TIME_BINS) {
        return -1;
    }
    for (n = 0; n < length; n++) {
        const uint32_t index = events[n].index;

        if (index >= @NAME@_INPUTS || (n > 0 && index <= events[n - 1].index)) {
            return -1;
        }
    }@clear@
    for (n = 0; n < length; n++) {
        take(state, events[n].index, events[n].count);
    }
    forward(state);
    return 0;
}

int @name@_step_counts(@name@_state *state, const uint8_t counts[@NAME@_INPUTS])
{
    uint32_t n;

    if (state->steps >= @NAME@_TIME_BINS) {
        return -1;
    }@clear@
    for (n = 0; n < @NAME@_INPUTS; n++) {
        take(state, n, counts[n]);
    }
    forward(state);
    return 0;
}

@scores@
uint32_t @name@_predicted(const int32_t scores[@NAME@_CLASSES])
{
    uint32_t n, best = 0;

    for (n = 1; n < @NAME@_CLASSES; n++) {
        if (scores[n] > scores[best]) {
            best = n;
        }
    }
    return best;
}

int @name@_run(@name@_state *state, const @name@_event *events, const uint32_t lengths[@NAME@_TIME_BINS],
               int32_t scores[@NAME@_CLASSES])
{
    uint32_t t;

    @name@_reset(state);
    for (t = 0; t < @NAME@_TIME_BINS; t++) {
        if (@name@_step(state, events, lengths[t]) != 0) {
            return -1;
        }
        if (lengths[t] > 0) { /* events may be NULL where there are none */
            events += lengths[t];
        }
    }
    @name@_scores(state, scores);
    return 0;
}
