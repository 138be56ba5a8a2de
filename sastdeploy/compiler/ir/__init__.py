"""The graph: what a network means, before and while it becomes integers."""
