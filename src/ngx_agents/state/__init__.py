"""What lasts: the journal behind one seam, and the memory tier in front of it."""
