"""The server's own secret: given by the operator, or made once and kept beside the journal."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from ngx_agents.app.config_sections import Config
from ngx_agents.errors import ConfigError

FILE_NAME = "secret.key"
KEY_BYTES = 32


def secret_keys(config: Config) -> tuple[bytes, ...]:
    """The keys in force, the signing one first. Raises ConfigError when the file cannot be read or made."""
    if config.server.secret_key:
        return tuple(key.encode() for key in config.server.secret_key)
    path = config.data_path / FILE_NAME
    try:
        return (_read(path) or _make(path),)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read or made: {error.strerror}") from error


def _read(path: Path) -> bytes | None:
    try:
        key = bytes.fromhex(path.read_text().strip())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ConfigError(f"{path} does not hold a key: remove it to have a new one made") from error
    if len(key) < KEY_BYTES:
        raise ConfigError(f"{path} is too short: remove it to have a new one made")
    return key


def _make(path: Path) -> bytes:
    """Written whole under another name first, so that two starts at once agree on one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    key = secrets.token_bytes(KEY_BYTES)
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(key.hex() + "\n")
        os.link(draft, path)
    except FileExistsError:
        return _read(path) or key
    finally:
        draft.unlink()
    return key
