static void add@i@(@name@_state *state, uint32_t input, int32_t count)
{
    const uint32_t channel = input / @pixels@u;
    const int32_t y = (int32_t)(input % @pixels@u / @frame_width@u) + @pad_y@;
    const int32_t x = (int32_t)(input % @frame_width@u) + @pad_x@;
    int32_t ky, kx;@variables@

    for (ky = 0; ky < @height@; ky++) {
        const int32_t top = y - ky;

        if (top < 0 || top % @step_y@ != 0 || top / @step_y@ >= @rows@) {
            continue;
        }
        for (kx = 0; kx < @width@; kx++) {
            const int32_t left = x - kx;
            uint32_t place;

            if (left < 0 || left % @step_x@ != 0 || left / @step_x@ >= @columns@) {
                continue;
            }
            place = (uint32_t)(top / @step_y@) * @columns@u + (uint32_t)(left / @step_x@);
            @visit@
        }
    }
}
