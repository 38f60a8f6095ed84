"""Service accounts as Google's console writes them, for a token server of ours."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa


@cache
def private_key() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def write_account(path: Path, token_url: str) -> Path:
    """The file at `path`, now holding an account whose tokens come from `token_url`."""
    account = {
        "type": "service_account",
        "project_id": "from-the-file",
        "private_key_id": "1",
        "private_key": private_key(),
        "client_email": "robot@example.iam.gserviceaccount.com",
        "client_id": "1",
        "token_uri": f"{token_url}/token",
    }
    path.write_text(json.dumps(account))
    return path
