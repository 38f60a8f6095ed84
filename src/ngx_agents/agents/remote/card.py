"""From an agent card that somebody else wrote to what the team knows of its agents.

The card's words are data: cut to bounds, freed of control characters and of what could close a marked block.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

import msgspec

from ngx_agents.agents.cards import AgentCard, LocalizedList, RemoteOrigin, SkillCard
from ngx_agents.agents.language import Localized
from ngx_agents.agents.remote.wire import CardDocument, Interface, RemoteSkill, decode_card
from ngx_agents.errors import RemoteProtocolError

JSONRPC, HTTP_JSON = "JSONRPC", "HTTP+JSON"
VERSION = "1.0"
MAX_SKILLS, MAX_TAGS, MAX_EXAMPLES = 32, 16, 16
NAME_CHARS, TAG_CHARS, TEXT_CHARS = 80, 40, 400


class RemoteCard(msgspec.Struct, frozen=True, kw_only=True):
    """`interface` is where it is asked; `card` is how the team shows it, without a word on whether it answers."""

    interface: Interface
    is_streaming: bool
    card: AgentCard


def read_card(raw: bytes, *, agent_id: str, allowed: Collection[str], may_ask: Callable[[str], bool]) -> RemoteCard:
    """`allowed` are the skills to use, all when empty. Raises RemoteProtocolError for a card that is of no use."""
    try:
        document = decode_card(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as exc:
        raise RemoteProtocolError("its agent card cannot be read") from exc
    if any(extension.required for extension in document.capabilities.extensions):
        raise RemoteProtocolError("it requires a protocol extension that is not spoken here")
    skills = [skill for skill in document.skills if not allowed or skill.id in allowed]
    missing = set(allowed) - {skill.id for skill in document.skills}
    if missing:
        raise RemoteProtocolError("its agent card lacks a skill that the configuration names")
    return RemoteCard(
        interface=_interface(document, may_ask),
        is_streaming=document.capabilities.streaming,
        card=_agent_card(agent_id, document, skills[:MAX_SKILLS]),
    )


def unknown_card(agent_id: str) -> AgentCard:
    """What can be said of an agent whose card was never seen."""
    return AgentCard(
        id=agent_id,
        intent=intent_of(agent_id),
        name=_both(agent_id),
        description=Localized(
            es="Agente externo; su tarjeta aún no se pudo leer.", en="An agent elsewhere; its card is not known yet."
        ),
        skills=(),
        remote=RemoteOrigin(is_available=False),
    )


def intent_of(agent_id: str) -> str:
    return f"remote_{agent_id}"


def _interface(document: CardDocument, may_ask: Callable[[str], bool]) -> Interface:
    """The first that can be spoken and asked."""
    spoken = [
        each
        for each in document.supported_interfaces
        if each.protocol_binding in (JSONRPC, HTTP_JSON) and each.protocol_version in (VERSION, "")
    ]
    if not spoken:
        old = " (it speaks 0.x)" if document.protocol_version is not None else ""
        raise RemoteProtocolError(f"it offers neither JSON-RPC nor HTTP+JSON of A2A {VERSION}{old}")
    for each in spoken:
        if may_ask(each.url):
            return each
    raise RemoteProtocolError("its card points to an origin that is neither its own nor among `origins`")


def _agent_card(agent_id: str, document: CardDocument, skills: list[RemoteSkill]) -> AgentCard:
    provider = document.provider.organization if document.provider is not None else ""
    return AgentCard(
        id=agent_id,
        intent=intent_of(agent_id),
        name=_both(_clean(document.name, NAME_CHARS) or agent_id),
        description=_both(_clean(document.description, TEXT_CHARS) or agent_id),
        skills=tuple(_skill(skill) for skill in skills),
        remote=RemoteOrigin(is_available=True, provider=_clean(provider, NAME_CHARS)),
    )


def _skill(skill: RemoteSkill) -> SkillCard:
    name = _clean(skill.name, NAME_CHARS) or "skill"
    examples = tuple(filter(None, (_clean(each, TEXT_CHARS) for each in skill.examples[:MAX_EXAMPLES])))
    return SkillCard(
        id=_clean(skill.id, NAME_CHARS) or "skill",
        name=_both(name),
        description=_both(_clean(skill.description, TEXT_CHARS) or name),
        tags=tuple(filter(None, (_clean(tag, TAG_CHARS) for tag in skill.tags[:MAX_TAGS]))),
        examples=LocalizedList(en=examples),
    )


def _both(text: str) -> Localized:
    return Localized(es=text, en=text)


def _clean(text: str, most: int) -> str:
    """One line of at most `most` characters."""
    printable = "".join(letter if letter.isprintable() else " " for letter in text[: 4 * most])
    return " ".join(printable.replace("<", "‹").split())[:most].strip()
