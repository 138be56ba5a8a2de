"""Checkpoints that nest deeper than their readers allow, for tests."""

import sys

import torch


def save_deep(content, path):
    """Write what may nest deeper than Python's own limit lets it be written."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(50_000)
    try:
        torch.save(content, path)
    finally:
        sys.setrecursionlimit(before)


def nest(depth):
    value: list = []
    for _ in range(depth):
        value = [value]
    return value
