/*
 * Reads recordings from stdin and prints a line for each: class number, class, scores.
 *
 * A recording is @NAME@_TIME_BINS bins of @NAME@_INPUTS counts, a byte each; recordings follow each other.
 */
#include <stdio.h>

#include "@name@.h"

static const char *const classes[@NAME@_CLASSES] = {
    @classes@
};

int main(void)
{
    static @name@_state state;
    static uint8_t counts[@NAME@_INPUTS];
    int32_t scores[@NAME@_CLASSES];
    uint32_t n, predicted;
    size_t length;

    @name@_reset(&state);
    while ((length = fread(counts, 1, sizeof counts, stdin)) == sizeof counts) {
        @name@_step_counts(&state, counts);
        if (state.steps < @NAME@_TIME_BINS) {
            continue;
        }
        @name@_scores(&state, scores);
        predicted = @name@_predicted(scores);
        printf("%lu %s:", (unsigned long)predicted, classes[predicted]);
        for (n = 0; n < @NAME@_CLASSES; n++) {
            printf(" %ld", (long)scores[n]);
        }
        printf("\n");
        @name@_reset(&state);
    }
    if (length > 0 || state.steps > 0) {
        fprintf(stderr, "stdin: the last recording is cut; it has @time_bins@ bins of @inputs@ bytes.\n");
        return 1;
    }
    return 0;
}
