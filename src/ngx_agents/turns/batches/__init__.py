"""Batches: many inputs handed in at once, answered with what is left over."""
