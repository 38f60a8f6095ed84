"""The team: routing, safety, orchestration, tools, and the specialists as content."""
