"""Tokens that were taken back before their time: one by its id, or all of a user that were issued before a moment.

Revocations are controls, so every instance knows them within seconds. Each is kept until every token that it may be
about has expired (`until`), and then forgotten by everybody.
"""

from __future__ import annotations

from collections.abc import Mapping

from ngx_agents.errors import InvalidRequest
from ngx_agents.state.controls import ACCOUNT_JOIN, MAX_NAME_CHARS, Document, Revocation
from ngx_agents.state.model import Owner

TOKEN, USER = "token:", "user:"


def token_name(jti: object) -> str | None:
    """Under which one token is taken back; None for one that has no usable id."""
    return f"{TOKEN}{jti}" if isinstance(jti, str) and 0 < len(jti) <= MAX_NAME_CHARS and jti.isprintable() else None


def named_token(jti: str) -> str:
    """Raises InvalidRequest for what no token of ours could have."""
    name = token_name(jti)
    if name is None:
        raise InvalidRequest(f"a token's id is 1 to {MAX_NAME_CHARS} printable characters", field="jti")
    return name


def user_name(owner: Owner) -> str:
    return f"{USER}{owner.tenant}{ACCOUNT_JOIN}{owner.user}"


class Revocations:
    """A view of what the control board knows."""

    def __init__(self, known: Mapping[str, Document]) -> None:
        self._known = known

    def __len__(self) -> int:
        return len(self._known)

    def are_about(self, token: str | None, user: str, issued_at: float | None) -> bool:
        """Whether a token of that name, of that user, issued then (Unix seconds) was taken back. Who cannot say when it
        was issued counts as older than any revocation."""
        if not self._known:
            return False
        if token is not None and token in self._known:
            return True
        found = self._known.get(user)
        if not isinstance(found, Revocation) or found.issued_before is None:
            return False
        return issued_at is None or issued_at < found.issued_before

    def ended(self, now_s: float) -> list[str]:
        """Those of which no token is left that has not expired."""
        return [name for name, one in self._known.items() if isinstance(one, Revocation) and one.until <= now_s]
