"""What instances share over Redis, and its stand-in in process: cache, counters, buckets, hints."""
