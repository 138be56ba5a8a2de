"""Analysis: where accuracy is lost, and what bounds say."""
