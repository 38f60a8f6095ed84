"""What goes wrong between us and Redis, inside this room; outside it, it is one of our errors, without foreign text."""

from __future__ import annotations

from ngx_agents.coordination.address import SETTING, Address
from ngx_agents.errors import ConfigError, NgxError, SharedUnavailable

RETRY_AFTER_S = 1.0


class Lost(Exception):
    """The connection ended before the answer came."""


class CredentialsRefused(Exception):
    """User, password or database are not accepted."""


class Refusal(Exception):
    """An error reply. `code` is its first word."""

    @property
    def code(self) -> str:
        return str(self).partition(" ")[0]


# what opening a connection and asking on it can raise
FAILURES = (Lost, CredentialsRefused, Refusal, OSError, TimeoutError, UnicodeError)  # the last: a host's name


def unreachable(error: BaseException, address: Address) -> NgxError:
    """ConfigError when credentials are refused, else SharedUnavailable."""
    if isinstance(error, CredentialsRefused):
        return ConfigError(f"{SETTING}: Redis at {address.place} refuses the user, password or database")
    return SharedUnavailable(f"Redis at {address.place} cannot be reached", retry_after_s=RETRY_AFTER_S)
