"""Signs requests to an S3-compatible object store. Pure.

Source: Amazon S3 API reference, "Authenticating Requests: Using the Authorization Header" (AWS Signature Version 4).
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Mapping, Sequence
from urllib.parse import quote

import msgspec

ALGORITHM = "AWS4-HMAC-SHA256"
EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()
Query = Sequence[tuple[str, str]]


class ToSign(msgspec.Struct, frozen=True, kw_only=True):
    """`path` is encoded as it is sent; `more` are further headers, their names in lower case."""

    method: str
    path: str
    host: str
    query: Query = ()
    payload_sha256: str = EMPTY_SHA256
    more: Mapping[str, str] = {}


class Signer(msgspec.Struct, frozen=True, kw_only=True):
    access_key: str
    secret_key: str
    region: str

    def headers(self, request: ToSign, *, now_s: float) -> dict[str, str]:
        """What the request is sent with besides Host; all of it is signed."""
        at = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now_s))
        sent = {"x-amz-content-sha256": request.payload_sha256, "x-amz-date": at, **request.more}
        signed = sorted({"host": request.host, **sent}.items())
        names = ";".join(name for name, _ in signed)
        lines = [f"{name}:{' '.join(value.split())}" for name, value in signed]
        canonical = "\n".join(
            (request.method, request.path, encoded_query(request.query), *lines, "", names, request.payload_sha256)
        )
        scope = f"{at[:8]}/{self.region}/s3/aws4_request"
        to_sign = "\n".join((ALGORITHM, at, scope, hashlib.sha256(canonical.encode()).hexdigest()))
        signature = self._signature(at[:8], to_sign)
        sent["authorization"] = (
            f"{ALGORITHM} Credential={self.access_key}/{scope},SignedHeaders={names},Signature={signature}"
        )
        return sent

    def _signature(self, day: str, to_sign: str) -> str:
        key = f"AWS4{self.secret_key}".encode()
        for part in (day, self.region, "s3", "aws4_request"):
            key = hmac.digest(key, part.encode(), "sha256")
        return hmac.digest(key, to_sign.encode(), "sha256").hex()


def encoded_path(path: str) -> str:
    """As it is sent and signed: everything but letters, digits, `-._~` and the slashes in percent."""
    return quote(path, safe="/-._~")


def encoded_query(query: Query) -> str:
    pairs = sorted((quote(name, safe="-._~"), quote(value, safe="-._~")) for name, value in query)
    return "&".join(f"{name}={value}" for name, value in pairs)
