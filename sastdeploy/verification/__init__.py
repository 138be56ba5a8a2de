"""Proof on a program's own arithmetic: every engine gives the same integers."""
