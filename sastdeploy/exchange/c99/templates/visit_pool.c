place += channel * @places@u;
state->@sums@[place] = (uint8_t)(state->@sums@[place] + count);
COUNT(synops[@i@], 1);
COUNT(synops_events[@i@], count);
