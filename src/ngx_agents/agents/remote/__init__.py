"""Agents elsewhere, spoken to in A2A 1.0: their cards, their answers, and their place in the team."""
