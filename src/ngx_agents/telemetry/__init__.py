"""Log events and metrics: names and numbers, never content."""
