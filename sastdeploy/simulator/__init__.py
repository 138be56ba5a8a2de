"""Engines that run an integer program. They see the program and frames, never a graph, a profile or a checkpoint."""
