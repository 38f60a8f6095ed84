"""Cached contents over the wire: their life, their use, what they are billed, and when they are refused."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.vertex.emulator.wire import FLASH, Answer, Wire, body

CACHES = "/v1/projects/p/locations/global/cachedContents"
MODEL = f"projects/p/locations/global/publishers/google/models/{FLASH}"
TOOLS = [{"functionDeclarations": [{"name": "log_weight", "parametersJsonSchema": {"type": "object"}}]}]
LONG = "word " * 4_000


def wanted(**fields: Any) -> dict[str, Any]:
    return {"model": MODEL, "displayName": "guide", **body(LONG), **fields}


async def made(wire: Wire, **fields: Any) -> dict[str, Any]:
    answer = await wire.post(CACHES, wanted(**fields))
    assert answer.status == 200, answer.content
    cache: dict[str, Any] = answer.json()
    return cache


async def used(wire: Wire, cache: dict[str, Any], **fields: Any) -> Answer:
    return await wire.generate(body(cachedContent=cache["name"], **fields))


async def test_create_answers_with_name_times_and_weight(wire: Wire) -> None:
    cache = await made(wire, ttl="600s", encryptionSpec={"kmsKeyName": "k"})
    assert re.fullmatch(r"projects/\d+/locations/global/cachedContents/\d+", cache["name"])
    assert (cache["model"], cache["displayName"]) == (MODEL, "guide")
    assert cache["usageMetadata"] == {"totalTokenCount": 5000, "textCount": 20_000}
    assert cache["encryptionSpec"] == {"kmsKeyName": "k"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", cache["expireTime"])
    assert cache["createTime"] < cache["expireTime"]


async def test_use_is_billed_as_cached_tokens_within_the_prompt(wire: Wire) -> None:
    cache = await made(wire)
    alone = (await wire.generate(body())).usage
    usage = (await used(wire, cache)).usage
    assert usage["cachedContentTokenCount"] == 5000
    assert usage["promptTokenCount"] == alone["promptTokenCount"] + 5000
    assert usage["cacheTokensDetails"] == [{"modality": "TEXT", "tokenCount": 5000}]
    assert "cachedContentTokenCount" not in alone
    state = await wire.state()
    assert state["tokens"]["cached"] == 5000
    assert (state["caches"]["creates"], state["caches"]["uses"]) == (1, 1)


async def test_tools_of_the_cache_are_called(wire: Wire) -> None:
    cache = await made(wire, tools=TOOLS, toolConfig={"functionCallingConfig": {"mode": "ANY"}})
    parts = (await used(wire, cache)).json()["candidates"][0]["content"]["parts"]
    assert parts[0]["functionCall"]["name"] == "log_weight"


@pytest.mark.parametrize(
    "field",
    [
        {"systemInstruction": {"role": "user", "parts": [{"text": "Be kind."}]}},
        {"tools": TOOLS},
        {"toolConfig": {"functionCallingConfig": {"mode": "NONE"}}},
    ],
    ids=lambda field: next(iter(field)),
)
async def test_what_belongs_in_the_cache_is_refused_beside_it(wire: Wire, field: dict[str, Any]) -> None:
    answer = await used(wire, await made(wire), **field)
    assert answer.status == 400
    expected = "Tool config, tools and system instruction should not be set in the request when using cached content."
    assert answer.message == expected


async def test_expired_cache_is_refused_with_400_and_is_gone_from_the_list(wire: Wire) -> None:
    cache = await made(wire, ttl="600s")
    await wire.order(advance_s=599)
    assert (await used(wire, cache)).status == 200
    await wire.order(advance_s=2)
    refused = await used(wire, cache)
    cache_id = cache["name"].rpartition("/")[2]
    assert (refused.status, refused.message) == (400, f"Cache content {cache_id} is expired.")
    assert (await wire.call("GET", CACHES)).json() == {"cachedContents": []}
    assert (await wire.call("GET", f"{CACHES}/{cache_id}")).status == 404


async def test_cache_can_be_expired_or_deleted_by_order(wire: Wire) -> None:
    first, second = await made(wire), await made(wire)
    await wire.order(caches={"expire": [first["name"]], "delete": [second["name"].rpartition("/")[2]]})
    assert (await used(wire, first)).status == 400
    assert (await used(wire, second)).status == 404


async def test_ttl_is_an_hour_unless_given_and_patch_prolongs_it(wire: Wire) -> None:
    cache = await made(wire)
    url = f"{CACHES}/{cache['name'].rpartition('/')[2]}"
    await wire.order(advance_s=3000)
    patched = await wire.call("PATCH", f"{url}?updateMask=ttl", {"ttl": "1200s"})
    assert patched.json()["updateTime"] > cache["updateTime"]
    await wire.order(advance_s=1100)
    assert (await used(wire, cache)).status == 200
    await wire.order(advance_s=101)
    assert (await used(wire, cache)).status == 400


async def test_expiry_may_be_a_moment(wire: Wire) -> None:
    cache = await made(wire, expireTime="2999-01-01T00:00:00Z")
    assert cache["expireTime"] == "2999-01-01T00:00:00.000000Z"


async def test_deleted_cache_is_not_found(wire: Wire) -> None:
    cache = await made(wire)
    url = f"{CACHES}/{cache['name'].rpartition('/')[2]}"
    deleted = await wire.call("DELETE", url)
    assert (deleted.status, deleted.json()) == (200, {})
    for answer in (await wire.call("GET", url), await wire.call("DELETE", url), await used(wire, cache)):
        assert answer.status == 404
        assert answer.message.startswith("Not found: cached content metadata for ")


async def test_list_has_pages_and_only_the_caches_of_its_location(wire: Wire) -> None:
    names = [(await made(wire))["name"] for _ in range(3)]
    await wire.post(CACHES.replace("global", "eu"), wanted())
    first = (await wire.call("GET", f"{CACHES}?pageSize=2")).json()
    second = (await wire.call("GET", f"{CACHES}?pageSize=2&pageToken={first['nextPageToken']}")).json()
    assert [each["name"] for each in first["cachedContents"] + second["cachedContents"]] == names
    assert "nextPageToken" not in second


async def test_cache_is_bound_to_its_location_and_its_model(wire: Wire) -> None:
    cache = await made(wire)
    elsewhere = await wire.generate(body(cachedContent=cache["name"]), location="eu")
    assert elsewhere.status == 404
    other = await wire.generate(body(cachedContent=cache["name"]), model="gemini-3.5-flash")
    assert other.status == 400
    assert other.message == (
        "Model used by GenerateContent request (models/gemini-3.5-flash) and CachedContent"
        " (models/gemini-3.8-flash) has to be the same."
    )


async def test_cache_is_found_by_the_project_number_of_its_name(wire: Wire) -> None:
    cache = await made(wire)
    assert (await wire.call("GET", f"/v1beta1/{cache['name']}")).json()["name"] == cache["name"]


async def test_too_small_a_cache_is_refused_and_the_bound_can_change(wire: Wire) -> None:
    small = await wire.post(CACHES, {"model": MODEL, **body("word " * 100)})
    expected = "The cached content is of 125 tokens. The minimum token count to start caching is 4096."
    assert (small.status, small.message) == (400, expected)
    await wire.order(caches={"min_tokens": 100})
    assert (await wire.post(CACHES, {"model": MODEL, **body("word " * 100)})).status == 200
    assert (await wire.state())["caches"]["creates"] == 1


@pytest.mark.parametrize(
    "fields",
    [
        {"ttl": "600"},
        {"ttl": "0s"},
        {"ttl": "-5s"},
        {"ttl": 600},
        {"ttl": "600s", "expireTime": "2999-01-01T00:00:00Z"},
        {"expireTime": "2001-01-01T00:00:00Z"},
        {"expireTime": "tomorrow"},
        {"model": ""},
        {"model": 7},
        {"colour": "red"},
        {"contents": [{"role": "user", "parts": []}]},
    ],
    ids=str,
)
async def test_malformed_cache_is_refused_with_400(wire: Wire, fields: dict[str, Any]) -> None:
    answer = await wire.post(CACHES, wanted(**fields))
    assert (answer.status, answer.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")


async def test_cache_of_an_unknown_model_is_not_found(wire: Wire) -> None:
    assert (await wire.post(CACHES, wanted(model="publishers/google/models/gemini-0"))).status == 404


@pytest.mark.parametrize("patch", [{}, {"displayName": "x"}, {"ttl": "soon"}], ids=str)
async def test_only_the_time_can_be_patched(wire: Wire, patch: dict[str, Any]) -> None:
    cache = await made(wire)
    answer = await wire.call("PATCH", f"{CACHES}/{cache['name'].rpartition('/')[2]}", patch)
    assert answer.status == 400


@pytest.mark.parametrize("query", ["pageSize=-1", "pageSize=x", "pageToken=x", "pageToken=99999999999999999999"])
async def test_malformed_page_is_refused(wire: Wire, query: str) -> None:
    assert (await wire.call("GET", f"{CACHES}?{query}")).status == 400
