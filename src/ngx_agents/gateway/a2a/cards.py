"""Agent cards: who answers here, how to reach them. One for each agent path, the same for everybody until a restart."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from a2a.server.request_handlers.response_helpers import agent_card_to_dict
from a2a.types import (
    AgentCapabilities,
    AgentCard,
    AgentExtension,
    AgentInterface,
    AgentProvider,
    AgentSkill,
    HTTPAuthSecurityScheme,
    SecurityRequirement,
    SecurityScheme,
    StringList,
)

from ngx_agents.a2a.trail import URI
from ngx_agents.agents import cards as ours
from ngx_agents.errors import NotFound
from ngx_agents.gateway.a2a.files import FILE_MODES
from ngx_agents.gateway.a2a.parts import DEFAULT_MODES, JSON, TEXT
from ngx_agents.gateway.a2a.settings import A2aSettings
from ngx_agents.gateway.deps import Roster

HOME = "https://github.com/ngx-agents/ngx-agents"
MAX_EXAMPLES = 5


class Cards:
    """`url` is where this server is reached, without a slash at its end."""

    def __init__(self, team: Roster, settings: A2aSettings) -> None:
        self._team = team
        self._settings = settings
        self._signer = _signer(settings)

    def encoded(self, agent: str, url: str) -> tuple[bytes, bytes]:
        """The card of an agent path ("" for the default) as JSON, and its ETag. Raises NotFound."""
        body = msgspec.json.encode(agent_card_to_dict(self.card(agent, url)))
        return body, b'"%s"' % hashlib.sha256(body).hexdigest()[:32].encode()

    def card(self, agent: str, url: str, *, is_extended: bool = False) -> AgentCard:
        """`is_extended`: with the skills of everybody who can be reached. Raises NotFound."""
        known = {card.id: card for card in self._team.cards() if isinstance(card, ours.AgentCard)}
        chosen = agent or self._settings.default_agent or next(iter(known))
        if chosen not in known:
            raise NotFound("there is no such agent")
        skills = _skills(known.values() if is_extended else [known[chosen]])
        own = self._settings.input_modes.get(chosen)
        modes = own or (*DEFAULT_MODES, *FILE_MODES)
        made = AgentCard(
            name=known[chosen].name.en,
            description=known[chosen].description.en,
            version=self._settings.version,
            supported_interfaces=self._interfaces(agent, url),
            provider=AgentProvider(organization="NGX Agents", url=HOME),
            capabilities=AgentCapabilities(
                streaming=True,
                push_notifications=True,
                extended_agent_card=True,
                extensions=[
                    AgentExtension(uri=URI, description="How far a message has come through servers."),
                    *(AgentExtension(uri=uri, required=True) for uri in self._settings.required_extensions),
                ],
            ),
            default_input_modes=modes,
            default_output_modes=list(dict.fromkeys([TEXT, JSON, *(own or ())])),
            skills=skills,
        )
        if self._settings.has_auth:
            scheme = SecurityScheme(http_auth_security_scheme=HTTPAuthSecurityScheme(scheme="Bearer"))
            made.security_schemes["bearer"].CopyFrom(scheme)
            made.security_requirements.append(SecurityRequirement(schemes={"bearer": StringList()}))
        return made if self._signer is None else self._signer(made)

    def _interfaces(self, agent: str, url: str) -> Iterable[AgentInterface]:
        bindings = [("JSONRPC", f"{url}/a2a"), ("HTTP+JSON", f"{url}/a2a/rest")]
        if self._settings.grpc_url is not None:
            bindings.append(("GRPC", self._settings.grpc_url))
        for binding, address in bindings:
            yield AgentInterface(url=address, protocol_binding=binding, protocol_version="1.0", tenant=agent)
        if self._settings.speaks_0_3:
            place = f"{url}/a2a/agents/{agent}" if agent else f"{url}/a2a"
            yield AgentInterface(url=place, protocol_binding="JSONRPC", protocol_version="0.3")
            for binding, address in bindings[1:] if not agent else ():  # 0.3 names no agent in its requests
                yield AgentInterface(url=address, protocol_binding=binding, protocol_version="0.3")


def _skills(cards: Iterable[ours.AgentCard]) -> list[AgentSkill]:
    found = [_skill(skill) for card in cards for skill in card.skills]
    if found:
        return found
    return [
        AgentSkill(id=card.id, name=card.name.en, description=card.description.en, tags=[card.intent]) for card in cards
    ]


def _skill(skill: ours.SkillCard) -> AgentSkill:
    return AgentSkill(
        id=skill.id,
        name=skill.name.en,
        description=skill.description.en,
        tags=skill.tags or [skill.id],
        examples=skill.examples.en[:MAX_EXAMPLES],
    )


def _signer(settings: A2aSettings) -> Callable[[AgentCard], AgentCard] | None:
    """Raises ValueError for a key that is none."""
    if settings.card_key is None:
        return None
    from a2a.utils.signing import create_agent_card_signer
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    key = load_pem_private_key(settings.card_key.encode(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise ValueError("cards are signed with an EC P-256 or an RSA key")
    algorithm = "ES256" if isinstance(key, ec.EllipticCurvePrivateKey) else "RS256"
    header: Any = {"alg": algorithm, "kid": settings.card_key_id, "typ": "JOSE"}
    signer: Callable[[AgentCard], AgentCard] = create_agent_card_signer(settings.card_key, header)
    return signer
