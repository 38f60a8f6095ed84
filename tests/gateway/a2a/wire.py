"""The test agent served over real sockets, and a caller of each HTTP binding that speaks nothing but the wire."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp

from ngx_agents.agents.cards import AgentCard
from ngx_agents.agents.language import Localized
from ngx_agents.agents.test_agent import ID, MODES, WithTestAgent, answers_at_once
from ngx_agents.gateway.a2a.settings import A2aSettings
from ngx_agents.gateway.application import create_app
from ngx_agents.gateway.deps import GatewayDeps
from ngx_agents.gateway.settings import GatewaySettings
from ngx_agents.turns.outbox.guard import Guard
from tests.gateway.script_team import ScriptTeam
from tests.gateway.serving import House, house, served

KEYS = (b"test",)


def _both(text: str) -> Localized:
    return Localized(es=text, en=text)


class NamedTeam(ScriptTeam):
    """The scripted team, its agents with the cards that teams have."""

    def cards(self) -> Any:
        return [
            AgentCard(id=name, intent=name, name=_both(name), description=_both(name), skills=())
            for name in ("parrot", "owl")
        ]


BINDINGS = ("jsonrpc", "rest")


class Refused(Exception):
    """`code` is JSON-RPC's (None over REST), `status` HTTP's."""

    def __init__(self, status: int, code: int | None, error: dict[str, Any], headers: Any) -> None:
        details = error.get("data") or error.get("details") or [{}]
        super().__init__(f"{status} {code} {error.get('message')}")
        self.status, self.code, self.error, self.details, self.headers = status, code, error, details, headers
        self.reason = details[0].get("reason")


class Caller:
    """`method` names of JSON-RPC over either binding."""

    def __init__(self, session: aiohttp.ClientSession, url: str, binding: str, headers: dict[str, str]) -> None:
        self.session, self.url, self.binding, self.headers = session, url, binding, headers

    def having(self, **headers: str) -> Caller:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return Caller(self.session, self.url, self.binding, {**self.headers, **named})

    async def call(self, method: str, params: dict[str, Any]) -> Any:
        if self.binding == "jsonrpc":
            return await self._rpc(method, params)
        verb, path, query, body = rest_of(method, params)
        async with self.session.request(
            verb, f"{self.url}/a2a/rest{path}", params=query, data=_read(body), headers=self._rest_headers(body)
        ) as answer:
            told = json.loads(await answer.read())
            if answer.status != 200:
                raise Refused(answer.status, None, told["error"], answer.headers)
            return told

    async def _rpc(self, method: str, params: dict[str, Any]) -> Any:
        body = {"jsonrpc": "2.0", "id": 7, "method": method, "params": params}
        headers = {"Content-Type": "application/json", **self.headers}
        async with self.session.post(f"{self.url}/a2a", data=_read(json.dumps(body)), headers=headers) as answer:
            told = json.loads(await answer.read())
            assert (told["jsonrpc"], told["id"]) == ("2.0", 7)
            if "error" in told:
                raise Refused(answer.status, told["error"]["code"], told["error"], answer.headers)
            return told["result"]

    def _rest_headers(self, body: str | None) -> dict[str, str]:
        return {**({"Content-Type": "application/a2a+json"} if body is not None else {}), **self.headers}

    async def stream(self, method: str, params: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """Raises Refused when it does not begin."""
        if self.binding == "jsonrpc":
            body: str | None = json.dumps({"jsonrpc": "2.0", "id": 7, "method": method, "params": params})
            verb, url, query = "POST", f"{self.url}/a2a", {}
            headers = {"Content-Type": "application/json", **self.headers}
        else:
            verb, path, query, body = rest_of(method, params)
            url, headers = f"{self.url}/a2a/rest{path}", self._rest_headers(body)
        async with self.session.request(verb, url, params=query, data=body, headers=headers) as answer:
            if not answer.content_type.startswith("text/event-stream"):
                error = json.loads(await answer.read())["error"]
                raise Refused(
                    answer.status, error["code"] if self.binding == "jsonrpc" else None, error, answer.headers
                )
            async for line in answer.content:
                if line.startswith(b"data: "):
                    told = json.loads(line[6:])
                    yield told["result"] if self.binding == "jsonrpc" else told

    async def send(self, text: str, **more: Any) -> Any:
        """The task or message. `config` is the configuration, all else goes into the message."""
        return await self.call("SendMessage", message_of(text, **more))

    async def task(self, text: str, **more: Any) -> Any:
        return (await self.send(text, **more))["task"]


def _read(body: str | None) -> BytesIO | None:
    return None if body is None else BytesIO(body.encode())


def message_of(text: str, **more: Any) -> dict[str, Any]:
    config, tenant = more.pop("config", None), more.pop("tenant", None)
    message = {"messageId": "m-1", "role": "ROLE_USER", "parts": [{"text": text}], **more}
    return {
        "message": message,
        **({"configuration": config} if config else {}),
        **({"tenant": tenant} if tenant else {}),
    }


_PATHS = {
    "SendMessage": ("POST", "/message:send"),
    "SendStreamingMessage": ("POST", "/message:stream"),
    "GetTask": ("GET", "/tasks/{id}"),
    "ListTasks": ("GET", "/tasks"),
    "CancelTask": ("POST", "/tasks/{id}:cancel"),
    "SubscribeToTask": ("GET", "/tasks/{id}:subscribe"),
    "CreateTaskPushNotificationConfig": ("POST", "/tasks/{taskId}/pushNotificationConfigs"),
    "GetTaskPushNotificationConfig": ("GET", "/tasks/{taskId}/pushNotificationConfigs/{id}"),
    "ListTaskPushNotificationConfigs": ("GET", "/tasks/{taskId}/pushNotificationConfigs"),
    "DeleteTaskPushNotificationConfig": ("DELETE", "/tasks/{taskId}/pushNotificationConfigs/{id}"),
    "GetExtendedAgentCard": ("GET", "/extendedAgentCard"),
}


def rest_of(method: str, params: dict[str, Any]) -> tuple[str, str, dict[str, str], str | None]:
    """Verb, path, query and body of the same call over HTTP+JSON."""
    verb, template = _PATHS[method]
    path = template.format(**params)
    rest = {name: value for name, value in params.items() if f"{{{name}}}" not in template and name != "tenant"}
    prefix = f"/{params['tenant']}" if params.get("tenant") else ""
    if verb == "POST":
        return verb, prefix + path, {}, json.dumps(rest)
    query = {key: str(value).lower() if isinstance(value, bool) else str(value) for key, value in rest.items()}
    return verb, prefix + path, query, None


def a2a_settings(**more: Any) -> A2aSettings:
    values: dict[str, Any] = {
        "version": "0.1.0", "has_auth": False, "default_agent": ID, "input_modes": {ID: MODES},
        "answers_at_once": answers_at_once, "secret_keys": KEYS,
    }  # fmt: skip
    return A2aSettings(**(values | more))


def deps_of(made: House, settings: A2aSettings, allow: tuple[str, ...] = ("127.0.0.1",)) -> GatewayDeps:
    return replace(made.deps, a2a=settings, guard=Guard(allow))


@asynccontextmanager
async def serving(path: Path, gateway: GatewaySettings | None = None, **more: Any) -> AsyncIterator[tuple[str, House]]:
    """The address of a gateway with the test agent beside a scripted team."""
    async with house(path, team=WithTestAgent(NamedTeam())) as made:
        deps = deps_of(made, a2a_settings(**more))
        async with served(create_app(deps, gateway or GatewaySettings())) as url:
            yield url, made


@asynccontextmanager
async def caller(path: Path, binding: str, **more: Any) -> AsyncIterator[Caller]:
    async with serving(path, **more) as (url, _), aiohttp.ClientSession() as session:
        yield Caller(session, url, binding, {"A2A-Version": "1.0"})


async def all_of(stream: AsyncIterator[dict[str, Any]], within_s: float = 20.0) -> list[dict[str, Any]]:
    async with asyncio.timeout(within_s):
        return [event async for event in stream]


def text_in(events: list[dict[str, Any]]) -> str:
    """What the answer's artifact says after all events."""
    said = ""
    for event in events:
        update = event.get("artifactUpdate")
        if update is not None and update["artifact"].get("name") == "answer":
            text = "".join(part["text"] for part in update["artifact"]["parts"])
            said = said + text if update.get("append") else text
    return said


def states_in(events: list[dict[str, Any]]) -> list[str]:
    found = []
    for event in events:
        status = event.get("task", event.get("statusUpdate", {})).get("status")
        if status is not None:
            found.append(status["state"].removeprefix("TASK_STATE_"))
    return found
