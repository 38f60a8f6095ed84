"""How each provider says what `vertex.content` means: requests as bytes, replies and streams as neutral content."""
