"""Prefixes kept at the provider (`cachedContents`) when that is cheaper than sending them: when, how, and how not."""
