"""Fuzzing of every reader: ``python -m tests.fuzz TARGET --seconds 60``."""
