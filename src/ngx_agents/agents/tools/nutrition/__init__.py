"""Meal plans: energy, macros, foods, what may not be eaten, portions."""
