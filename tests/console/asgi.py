"""Asks an ASGI application directly, without a socket."""

from __future__ import annotations

from dataclasses import dataclass

from ngx_agents.console.application import Console


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes


async def ask(app: Console, path: str, method: str = "GET", **headers: str) -> Reply:
    """`headers` are named with underscores: `if_none_match='"…"'`."""
    sent: list[dict[str, object]] = []

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b"", "more_body": False}

    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    await app({"type": "http", "method": method, "path": path, "headers": raw}, receive, send)
    start, body = sent
    return Reply(start["status"], {name.decode(): value.decode() for name, value in start["headers"]}, body["body"])
