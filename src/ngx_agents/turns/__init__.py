"""Turns: accepted durably, run in order, finished once, recovered after a crash."""
