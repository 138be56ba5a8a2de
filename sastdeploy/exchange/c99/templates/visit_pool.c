place += channel * @places@u;
state->@sums@[place] = (uint8_t)(state->@sums@[place] + count);
COUNT(synops[@source@], 1);
COUNT(synops_events[@source@], count);
