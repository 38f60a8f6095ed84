"""What redis-py raises, told in our errors: never its text, never a secret."""

from __future__ import annotations

from redis.exceptions import AuthenticationError, AuthorizationError, NoPermissionError, RedisError

from ngx_agents.coordination.address import SETTING, Address
from ngx_agents.errors import ConfigError, NgxError, SharedUnavailable

REFUSALS = (AuthenticationError, AuthorizationError, NoPermissionError)
FOREIGN = (RedisError, OSError, TimeoutError, EOFError)
RETRY_AFTER_S = 1.0


def unreachable(error: BaseException, address: Address) -> NgxError:
    """ConfigError when credentials are refused, else SharedUnavailable."""
    if is_refusal(error):
        return ConfigError(f"{SETTING}: Redis at {address.place} refuses the user or password")
    return SharedUnavailable(f"Redis at {address.place} cannot be reached", retry_after_s=RETRY_AFTER_S)


def is_refusal(error: BaseException | None) -> bool:
    """Whether credentials were refused, here or in what the error was made from."""
    while error is not None:
        if isinstance(error, REFUSALS):
            return True
        error = error.__cause__ or error.__context__
    return False
