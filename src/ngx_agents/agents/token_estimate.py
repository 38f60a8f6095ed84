"""About how many tokens a request has, before it is sent: for what has to be reserved. Rather too many than too few."""

from __future__ import annotations

from typing import Any

import msgspec

from ngx_agents.vertex.content import Media, ModelRequest, Text

CHARS_PER_TOKEN = 3
"""Fewer than there are, so that what is reserved is seldom too little."""
TOOL_TOKENS = 250
MEDIA_TOKENS = 1_500
BYTES_PER_MEDIA_TOKEN = 200


def input_tokens_of(request: ModelRequest) -> int:
    """About how many tokens the request has, rather too many."""
    chars = len(request.system)
    tokens = TOOL_TOKENS * len(request.tools)
    for content in request.contents:
        for part in content.parts:
            if isinstance(part, Text):
                chars += len(part.text)
            elif isinstance(part, Media):
                tokens += max(MEDIA_TOKENS, len(part.data or b"") // BYTES_PER_MEDIA_TOKEN)
            else:
                chars += _json_chars(part)
    return tokens + chars // CHARS_PER_TOKEN + 1


def _json_chars(part: Any) -> int:
    return len(msgspec.json.encode(part))
