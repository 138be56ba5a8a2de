"""Experiments: a grid of independent trials, run once each, resumed after interruption, reported from small records."""
