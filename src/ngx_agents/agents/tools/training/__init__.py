"""Training plans: what was asked for, how load grows, which exercises, what an injury forbids."""
