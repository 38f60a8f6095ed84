from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.agents.remote.peers import sdk_agent


@pytest.fixture(scope="session")
def streaming() -> Iterator[str]:
    """The weather agent over JSON-RPC, one for all: the SDK takes a second to start."""
    with sdk_agent() as url:
        yield url
