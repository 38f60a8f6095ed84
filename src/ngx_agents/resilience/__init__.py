"""Decisions that keep a busy server useful: arithmetic and policy, no I/O."""
