"""Whatever a card says: it is read or refused, its words are within bounds, and the router can be made of it."""

from __future__ import annotations

import json
from functools import cache

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ngx_agents.agents.lineup import joined
from ngx_agents.agents.loader import TeamContent, load_team
from ngx_agents.agents.remote import card as card_module
from ngx_agents.agents.remote.card import RemoteCard, read_card
from ngx_agents.agents.router import Router
from ngx_agents.agents.tools.registry import build_tools
from ngx_agents.agents.wording import normalise, words_of
from ngx_agents.errors import RemoteProtocolError
from tests.agents.remote.peers import a_card

URL = "http://127.0.0.1:1"
WORDS = st.text(max_size=60) | st.sampled_from(["", " ", "\n", "<b>", "a_b", "1.5", "ñ", "\u202e", "plan", "x" * 900])
SKILL = st.fixed_dictionaries(
    {"id": WORDS, "name": WORDS},
    optional={"description": WORDS, "tags": st.lists(WORDS, max_size=30), "examples": st.lists(WORDS, max_size=30)},
)


@cache
def team() -> TeamContent:
    return load_team(tools=build_tools())


def read(document: object) -> RemoteCard:
    raw = json.dumps(document).encode()
    return read_card(raw, agent_id="weather", allowed=(), may_ask=lambda url: url.startswith(URL))


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(SKILL, max_size=6), WORDS, WORDS)
def test_any_words_make_a_card_in_bounds_and_a_router(skills, name, description):
    card = read(a_card(URL, skills=skills, name=name, description=description)).card
    router = Router(joined(team(), [card]))
    for text in ("¿qué me recomiendas?", name, *(tag for skill in card.skills for tag in skill.tags)):
        router.route(words_of(normalise(text)))
    assert router.route_to("weather", ["x"]).agents == ("weather",)
    said = [card.name.es, card.description.es, *(each.description.en for each in card.skills)]
    assert all(len(text) <= card_module.TEXT_CHARS and "<" not in text and "\n" not in text for text in said)
    assert all(text.isprintable() for text in said)


@settings(max_examples=40, deadline=None)
@given(st.recursive(st.none() | st.integers() | st.text(max_size=5), lambda x: st.lists(x) | st.dictionaries(WORDS, x)))
def test_any_json_is_a_card_or_refused(document):
    with pytest.raises(RemoteProtocolError):
        read(document)


def test_the_first_interface_that_is_spoken_and_may_be_asked_is_taken():
    def interface(url: str, binding: str, version: str = "1.0") -> dict[str, str]:
        return {"url": url, "protocolBinding": binding, "protocolVersion": version}

    found = read(
        a_card(
            URL,
            supportedInterfaces=[
                interface("http://elsewhere/", "JSONRPC"),
                interface(f"{URL}/grpc", "GRPC"),
                interface(f"{URL}/old", "JSONRPC", "0.3"),
                interface(f"{URL}/rest", "HTTP+JSON"),
                interface(f"{URL}/rpc", "JSONRPC"),
            ],
        )
    )
    assert found.interface.url == f"{URL}/rest"
