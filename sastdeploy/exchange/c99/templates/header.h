/*
 * @title@: a spiking network in integers. Written by sastdeploy @version@.
 *
 * All memory is the caller's: one @name@_state for each stream. Nothing is allocated, nothing is kept elsewhere.
 * Compiled with @NAME@_COUNT defined (everywhere, as it lengthens the state), the state also counts operations.
 */
#ifndef @NAME@_H
#define @NAME@_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define @NAME@_INPUTS @inputs@u /* polarities @polarities@ x rows @rows@ x columns @columns@, numbered in this order */
#define @NAME@_TIME_BINS @time_bins@u
#define @NAME@_CLASSES @classes@u
#define @NAME@_CLIP @clip@u /* larger counts are taken as this */

/* An input that had events in a time bin, and how many. */
typedef struct {
    @index@ index;
    uint8_t count;
} @name@_event;

typedef struct {
    @members@
#ifdef @NAME@_COUNT
    int64_t synops[@sources@]; /* operations into each layer and, last, the readout: one for each synapse that is reached@own@ */
    int64_t synops_events[@sources@]; /* the same, weighted by the values sent */
    int64_t overflow_low[@layers@], overflow_high[@layers@]; /* membrane updates below and above the format, per layer */
#endif
} @name@_state;

/* Begin a recording: every membrane, sum and counter becomes 0@starts@. */
void @name@_reset(@name@_state *state);

/*
 * Take one time bin: `length` events, their indices ascending, each once. Returns 0; or -1, and changes nothing, where
 * an index is too large or out of order, or @NAME@_TIME_BINS bins were taken since the reset.
 */
int @name@_step(@name@_state *state, const @name@_event *events, uint32_t length);

/* The same from all counts of the bin, zeros included. Returns 0, or -1 after @NAME@_TIME_BINS bins. */
int @name@_step_counts(@name@_state *state, const uint8_t counts[@NAME@_INPUTS]);

/* The scores of the bins taken so far; after the last one they are the recording's. */
void @name@_scores(const @name@_state *state, int32_t scores[@NAME@_CLASSES]);

/* The class of the largest score, the lowest index among equal ones. */
uint32_t @name@_predicted(const int32_t scores[@NAME@_CLASSES]);

/*
 * Reset, take a whole recording, and give its scores. The events of all bins follow each other, lengths[t] of them in
 * bin t. Returns 0, or -1 as a step does; then there are no scores.
 */
int @name@_run(@name@_state *state, const @name@_event *events, const uint32_t lengths[@NAME@_TIME_BINS],
               int32_t scores[@NAME@_CLASSES]);

#ifdef __cplusplus
}
#endif

#endif
