"""The ASGI application of the web pages: `/` and everything below `/static/`.

Nothing leaves the origin and nothing is inline: the content security policy says so, and the pages live by it.
It serves GET and HEAD, keeps no state, and needs no authentication: the pages hold no data of anyone.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

from ngx_agents.console.files import StaticFile, StaticFiles, load

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

FOLDER = Path(__file__).parent / "static"
PAGES = {"/": "index.html"}
PREFIX = "/static/"

POLICY = "; ".join(
    (
        "default-src 'self'",
        "img-src 'self' blob: data:",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types dompurify",
    )
)
SECURITY: Headers = [
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
]
FOR_EVER = b"public, max-age=31536000, immutable"
ASK_FIRST = b"no-cache"


class Console:
    """Answers GET and HEAD with the file a path names, else 404 or 405."""

    def __init__(self, files: StaticFiles) -> None:
        self._files = files

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        file, unchanging = self._find(scope["path"])
        if scope["method"] not in ("GET", "HEAD"):
            await _answer(send, 405, [(b"allow", b"GET, HEAD")])
        elif file is None:
            await _answer(send, 404, [(b"content-type", b"text/plain; charset=utf-8")], b"Not found\n")
        else:
            await _send_file(scope, send, file, unchanging=unchanging)

    def _find(self, path: str) -> tuple[StaticFile | None, bool]:
        if page := PAGES.get(path):
            return self._files.files[page], False
        if path.startswith(PREFIX):
            return self._files.find(path[len(PREFIX) :])
        return None, False


def create_console(folder: Path = FOLDER) -> Console:
    """The application, with all its files read."""
    return Console(load(folder))


async def _send_file(scope: Scope, send: Send, file: StaticFile, *, unchanging: bool) -> None:
    asked = {name: value for name, value in scope["headers"] if name in (b"if-none-match", b"accept-encoding")}
    headers: Headers = [
        (b"etag", file.etag.encode()),
        (b"cache-control", FOR_EVER if unchanging else ASK_FIRST),
        (b"vary", b"accept-encoding"),
    ]
    if _is_known(asked.get(b"if-none-match", b"").decode("latin-1"), file.etag):
        await _answer(send, 304, headers)
        return
    headers.append((b"content-type", file.content_type.encode()))
    body = file.body
    if file.zipped is not None and _takes_gzip(asked.get(b"accept-encoding", b"").decode("latin-1")):
        body = file.zipped
        headers.append((b"content-encoding", b"gzip"))
        headers[0] = (b"etag", b"W/" + headers[0][1])
    headers.append((b"content-length", str(len(body)).encode()))
    await _answer(send, 200, headers, b"" if scope["method"] == "HEAD" else body)


def _is_known(if_none_match: str, etag: str) -> bool:
    """Weak comparison, as RFC 9110 §13.1.2 asks of If-None-Match."""
    tags = {tag.strip().removeprefix("W/") for tag in if_none_match.split(",")}
    return etag in tags or "*" in tags


def _takes_gzip(accept_encoding: str) -> bool:
    for offer in accept_encoding.lower().split(","):
        coding, _, quality = offer.partition(";")
        if coding.strip() in ("gzip", "*"):
            return quality.replace(" ", "").rstrip("0.") != "q="
    return False


async def _answer(send: Send, status: int, headers: Headers, body: bytes = b"") -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers + SECURITY})
    await send({"type": "http.response.body", "body": body})
