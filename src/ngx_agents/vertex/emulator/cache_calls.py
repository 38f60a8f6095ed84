"""The REST of cached contents: create, list, get, patch (its time only) and delete."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

import msgspec

from ngx_agents.vertex.emulator import fields
from ngx_agents.vertex.emulator.caches import DEFAULT_TTL_S, Cache, Caches, project_number
from ngx_agents.vertex.emulator.catalog import Catalog
from ngx_agents.vertex.emulator.parts import Weight, read_contents
from ngx_agents.vertex.emulator.refusal import Refusal, named
from ngx_agents.vertex.emulator.target import Target
from ngx_agents.vertex.emulator.vertex_reader import read_setting, read_tool_config, tokens_by_modality

_CREATE = fields.names(
    "name model displayName ttl expireTime contents systemInstruction tools toolConfig encryptionSpec createTime"
    " updateTime usageMetadata"
)
_PATCH = frozenset(("name", "ttl", "expireTime"))
_TTL = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)s")
PAGE = 100
MAX_PAGE = 1000


def answer(target: Target, doc: dict[str, Any], query: bytes, caches: Caches, catalog: Catalog) -> tuple[bytes, int]:
    """The body of a cachedContents call and the tokens it stored. Raises Refusal."""
    match target.operation.removeprefix("cachedContents."):
        case "create":
            cache = _create(target, doc, caches, catalog)
            return msgspec.json.encode(_view(cache)), cache.tokens
        case "list":
            return _list(target, query, caches), 0
        case "patch":
            return msgspec.json.encode(_view(_patch(caches.live(target), doc, caches))), 0
        case "delete":
            caches.delete(caches.live(target))
            return b"{}", 0
        case _:
            return msgspec.json.encode(_view(caches.live(target))), 0


def _create(target: Target, doc: dict[str, Any], caches: Caches, catalog: Catalog) -> Cache:
    doc = fields.known(doc, _CREATE, "cached_content")
    model = fields.text(doc, "model", "cached_content.")
    if not model:
        raise Refusal(400, "The model of the cached content is missing.")
    model_id = model.rpartition("/")[2]
    catalog.find(msgspec.structs.replace(target, model=model_id))
    weight = Weight()
    if doc.get("contents"):
        read_contents(doc, weight, "HIGH")
    tools, _ = read_setting(doc, weight)
    mode, allowed = read_tool_config(doc, tools)
    now_s = caches.clock.now_s()
    cache = Cache(
        id="",
        project=target.project,
        location=target.location,
        model=model_id,
        model_name=model,
        created_s=now_s,
        updated_s=now_s,
        expires_s=_expiry(doc, now_s, DEFAULT_TTL_S),
        details=tokens_by_modality(weight),
        counts=weight.counts,
        characters=weight.characters,
        display_name=fields.text(doc, "displayName", "cached_content."),
        kms_key=str((doc.get("encryptionSpec") or {}).get("kmsKeyName") or ""),
        tools=tools,
        mode=mode,
        allowed=allowed,
    )
    return caches.add(cache)


def _patch(cache: Cache, doc: dict[str, Any], caches: Caches) -> Cache:
    doc = fields.known(doc, _PATCH, "cached_content")
    if doc.get("ttl") is None and doc.get("expireTime") is None:
        raise Refusal(400, "Only ttl or expireTime of a cached content can be updated: one of them must be set.")
    now_s = caches.clock.now_s()
    cache.expires_s = _expiry(doc, now_s, DEFAULT_TTL_S)
    cache.updated_s = now_s
    caches.counts["patches"] += 1
    return cache


def _list(target: Target, query: bytes, caches: Caches) -> bytes:
    asked = parse_qs(query.decode("latin-1"))
    size, start = (asked.get(name, ["0"])[0] or "0" for name in ("pageSize", "pageToken"))
    if not (size.isdecimal() and start.isdecimal() and len(start) < 10 and len(size) < 10):
        raise named("invalid")
    count = min(int(size) or PAGE, MAX_PAGE)
    found = caches.of(target)
    page: dict[str, Any] = {"cachedContents": [_view(cache) for cache in found[int(start) : int(start) + count]]}
    if int(start) + count < len(found):
        page["nextPageToken"] = str(int(start) + count)
    return msgspec.json.encode(page)


def _expiry(doc: dict[str, Any], now_s: float, default_s: float) -> float:
    """When the cache ends, in seconds since the epoch. Raises Refusal."""
    ttl, until = doc.get("ttl"), doc.get("expireTime")
    if ttl is not None and until is not None:
        raise Refusal(400, "Only one of ttl and expireTime can be set.")
    if until is not None:
        expires_s = _instant(until)
    else:
        match = _TTL.fullmatch(ttl) if isinstance(ttl, str) else None
        if ttl is not None and match is None:
            raise fields.wrong("cached_content.ttl", ttl)
        expires_s = now_s + (float(match[1]) if match else default_s)
    if expires_s <= now_s:
        raise Refusal(400, "The expiration time of a cached content must be in the future.")
    return expires_s


def _instant(text: Any) -> float:
    try:
        moment = datetime.fromisoformat(text)
    except (AttributeError, ValueError) as exc:
        raise fields.wrong("cached_content.expire_time", text) from exc
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _view(cache: Cache) -> dict[str, Any]:
    usage: dict[str, int] = {"totalTokenCount": cache.tokens, "textCount": cache.characters}
    usage.update({f"{modality.lower()}Count": count for modality, count in cache.counts.items()})
    view: dict[str, Any] = {
        "name": f"projects/{project_number(cache.project)}/locations/{cache.location}/cachedContents/{cache.id}",
        "model": cache.model_name,
        "displayName": cache.display_name,
        "createTime": _stamp(cache.created_s),
        "updateTime": _stamp(cache.updated_s),
        "expireTime": _stamp(cache.expires_s),
        "usageMetadata": usage,
    }
    if cache.kms_key:
        view["encryptionSpec"] = {"kmsKeyName": cache.kms_key}
    return view


def _stamp(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, tz=UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
