from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from ngx_agents.errors import (
    ModelAuthError,
    ModelError,
    ModelNotFound,
    ModelProtocolError,
    ModelRequestError,
    ModelThrottled,
    ModelTimeout,
    ModelUnavailable,
)
from ngx_agents.vertex.content import ModelRequest
from ngx_agents.vertex.contexts.contexts import Contexts
from ngx_agents.vertex.contexts.provider import ContextTarget
from ngx_agents.vertex.contexts.settings import DEFAULT_PRICES, ContextSettings
from ngx_agents.vertex.dialects.vertex import VertexDialect
from ngx_agents.vertex.scope import Cohort, Public, User
from tests.resilience.hand_clock import HandClock
from tests.vertex.contexts.billed_provider import BilledProvider
from tests.vertex.contexts.requests import TARGET, shared_request

GONE = ModelRequestError("expired", status=400)


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def provider(clock: HandClock) -> BilledProvider:
    return BilledProvider(clock, DEFAULT_PRICES)


@pytest_asyncio.fixture
async def contexts(clock: HandClock, provider: BilledProvider) -> AsyncIterator[Contexts]:
    async with Contexts(ContextSettings(), provider, clock=clock) as contexts:
        yield contexts


async def settle() -> None:
    for _ in range(6):
        await asyncio.sleep(0)


async def ask_often(
    contexts: Contexts, clock: HandClock, count: int = 8, *, request: ModelRequest | None = None, gap_s: float = 10.0,
    target: ContextTarget = TARGET,
) -> str | None:  # fmt: skip
    """The name that the last of `count` requests was given."""
    request = request or shared_request()
    name = None
    for _ in range(count):
        clock.at_s += gap_s
        name = contexts.name_for(contexts.prefix_of(request), request, target)
        await settle()
    return name


async def test_copy_is_made_when_it_pays_and_then_used(
    contexts: Contexts, clock: HandClock, provider: BilledProvider
) -> None:
    assert await ask_often(contexts, clock, 2) is None
    name = await ask_often(contexts, clock, 6)
    assert name in provider.live
    assert provider.named("POST") == 1
    (made,) = provider.bodies
    whole = json.loads(VertexDialect("global").encode(shared_request(), model="m", streams=False))
    assert made["systemInstruction"] == whole["systemInstruction"]
    assert made["tools"] == whole["tools"]
    assert made["model"] == "projects/p/locations/global/publishers/google/models/gemini-3.8-flash"
    assert "contents" not in made
    assert contexts.counts["made"] == 1


async def test_seldom_asked_prefix_is_never_kept(
    contexts: Contexts, clock: HandClock, provider: BilledProvider
) -> None:
    await ask_often(contexts, clock, 30, gap_s=3 * 3600)
    assert provider.calls == []


async def test_many_requests_at_once_make_one_copy(
    contexts: Contexts, clock: HandClock, provider: BilledProvider
) -> None:
    request = shared_request()
    for _ in range(200):
        contexts.name_for(contexts.prefix_of(request), request, TARGET)
    await settle()
    assert provider.named("POST") == 1


async def test_every_place_and_model_has_a_copy_of_its_own(
    contexts: Contexts, clock: HandClock, provider: BilledProvider
) -> None:
    targets = [TARGET, ContextTarget("p", "eu", TARGET.model), ContextTarget("p", "global", "gemini-3.7-flash")]
    names = {await ask_often(contexts, clock, target=target) for target in targets}
    assert len(names) == provider.named("POST") == 3
    assert None not in names


@pytest.mark.parametrize(
    "change",
    [{"system": "Another. " * 3000}, {"tools": ()}, {"tool_choice": "any"}, {"prefix_scope": Cohort("t")}],
    ids=lambda change: next(iter(change)),
)
async def test_other_prefix_never_gets_the_copy(contexts: Contexts, clock: HandClock, change: dict[str, Any]) -> None:
    name = await ask_often(contexts, clock)
    assert name is not None
    assert await ask_often(contexts, clock, request=shared_request(**change)) not in (None, name)


async def test_prefix_of_equal_text_shares_the_copy(contexts: Contexts, clock: HandClock) -> None:
    name = await ask_often(contexts, clock)
    other = shared_request(system="".join(list(shared_request().system)), temperature=0.3, text="another question")
    assert await ask_often(contexts, clock, 1, request=other) == name


@pytest.mark.parametrize("scope", [None, User("u")])
async def test_prefix_that_is_nobodys_to_share_is_never_kept(
    contexts: Contexts, clock: HandClock, provider: BilledProvider, scope: User | None
) -> None:
    request = shared_request(prefix_scope=scope)
    assert contexts.prefix_of(request) is None
    assert await ask_often(contexts, clock, 50, request=request) is None
    assert provider.calls == []


async def test_users_own_prefix_is_kept_when_allowed(clock: HandClock, provider: BilledProvider) -> None:
    async with Contexts(ContextSettings(allow_user_scoped=True), provider, clock=clock) as contexts:
        one = await ask_often(contexts, clock, request=shared_request(prefix_scope=User("u")))
        other = await ask_often(contexts, clock, request=shared_request(prefix_scope=User("v")))
    assert one is not None
    assert other not in (None, one)


async def test_short_prefix_is_not_kept(contexts: Contexts, clock: HandClock, provider: BilledProvider) -> None:
    await ask_often(contexts, clock, 50, request=shared_request(system="short"))
    assert provider.calls == []


async def test_minimum_is_the_models(clock: HandClock, provider: BilledProvider) -> None:
    settings = ContextSettings(min_tokens=10**6, min_tokens_by_model={TARGET.model: 2048})
    async with Contexts(settings, provider, clock=clock) as contexts:
        other = ContextTarget("p", "global", "gemini-3.7-flash")
        assert await ask_often(contexts, clock, target=other) is None
        assert await ask_often(contexts, clock) is not None


async def test_disabled_keeps_nothing(clock: HandClock, provider: BilledProvider) -> None:
    async with Contexts(ContextSettings(is_enabled=False), provider, clock=clock) as contexts:
        assert await ask_often(contexts, clock, 50) is None
    assert provider.calls == []


async def test_use_keeps_a_copy_alive_and_silence_lets_it_end(
    contexts: Contexts, clock: HandClock, provider: BilledProvider
) -> None:
    name = await ask_often(contexts, clock)
    assert await ask_often(contexts, clock, 100, gap_s=300) == name
    assert provider.named("POST") == 1
    assert 3 < provider.named("PATCH") < 20
    patches = provider.named("PATCH")
    assert await ask_often(contexts, clock, 1, gap_s=8 * 3600) is None
    assert provider.named("PATCH") == patches


async def test_copy_made_elsewhere_is_adopted(clock: HandClock, provider: BilledProvider) -> None:
    async with Contexts(ContextSettings(), provider, clock=clock) as first:
        name = await ask_often(first, clock)
        async with Contexts(ContextSettings(), provider, clock=clock) as second:
            assert await ask_often(second, clock) == name
            assert second.counts["adopted"] == 1
    assert provider.named("POST") == 1


@pytest.mark.parametrize("error", [ModelAuthError("no", status=403), ModelProtocolError("nonsense")])
async def test_copy_is_made_where_listing_is_forbidden(
    contexts: Contexts, clock: HandClock, provider: BilledProvider, error: ModelError
) -> None:
    provider.failing["GET"] = error
    assert await ask_often(contexts, clock) in provider.live


async def test_lost_copy_is_dropped_and_the_call_repeated_without(
    contexts: Contexts, clock: HandClock, provider: BilledProvider
) -> None:
    name = await ask_often(contexts, clock)
    assert name is not None
    provider.live.clear()
    assert contexts.failed(name, GONE)
    assert await ask_often(contexts, clock, 1) is None
    assert contexts.counts["lost"] == 1
    assert contexts.failed(name, GONE), "a second call that used it is repeated, too"
    fresh = await ask_often(contexts, clock)
    assert fresh not in (None, name)


async def test_one_bad_request_costs_no_good_copy(
    contexts: Contexts, clock: HandClock, provider: BilledProvider
) -> None:
    name = await ask_often(contexts, clock)
    assert name is not None
    assert contexts.failed(name, ModelRequestError("bad schema", status=400))
    request = shared_request()
    assert contexts.name_for(contexts.prefix_of(request), request, TARGET) is None, "not while it is in doubt"
    await settle()
    assert await ask_often(contexts, clock, 1) == name
    assert provider.named("POST") == 1


async def test_copy_that_is_there_but_of_no_use_is_given_up(
    contexts: Contexts, clock: HandClock, provider: BilledProvider
) -> None:
    given: list[str] = []
    request = shared_request()
    for _ in range(360):
        clock.at_s += 10
        name = contexts.name_for(contexts.prefix_of(request), request, TARGET)
        if name is not None:
            given.append(name)
            assert contexts.failed(name, ModelRequestError("model mismatch", status=400))
        await settle()
    assert len(given) == 3
    assert provider.named("POST") == 1


@pytest.mark.parametrize(
    "error",
    [
        ModelThrottled("busy", status=429),
        ModelUnavailable("down", status=503),
        ModelTimeout("late"),
        ModelAuthError("who", status=401),
    ],
)
async def test_failures_that_are_not_the_copys_leave_it(
    contexts: Contexts, clock: HandClock, error: ModelError
) -> None:
    name = await ask_often(contexts, clock)
    assert name is not None
    assert not contexts.failed(name, error)
    assert await ask_often(contexts, clock, 1) == name


@pytest.mark.parametrize(
    ("error", "most"),
    [
        (ModelUnavailable("down", status=503), 10),
        (ModelThrottled("busy", status=429), 10),
        (ModelTimeout("late"), 10),
        (ModelAuthError("no", status=403), 1),
        (ModelRequestError("too small", status=400), 1),
        (ModelNotFound("no such model", status=404), 1),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, ModelError) else None,
)
async def test_creation_that_always_fails_is_no_loop(
    contexts: Contexts, clock: HandClock, provider: BilledProvider, error: ModelError, most: int
) -> None:
    provider.failing["POST"] = error
    assert await ask_often(contexts, clock, 1800, gap_s=10) is None  # five hours
    assert 1 <= provider.named("POST") <= most
    provider.failing.clear()
    assert await ask_often(contexts, clock, 3, gap_s=6 * 3600) is None
    assert await ask_often(contexts, clock) in provider.live, "it recovers by itself"


async def test_throttled_creation_waits_as_long_as_it_was_told(
    contexts: Contexts, clock: HandClock, provider: BilledProvider
) -> None:
    provider.failing["POST"] = ModelThrottled("busy", status=429, retry_after_s=1800.0)
    await ask_often(contexts, clock, 100, gap_s=10)
    assert provider.named("POST") == 1


async def test_creations_of_all_prefixes_together_are_bounded(clock: HandClock, provider: BilledProvider) -> None:
    settings = ContextSettings(max_creations_per_hour=3, max_prefixes=4)
    async with Contexts(settings, provider, clock=clock) as contexts:
        for number in range(20):
            await ask_often(contexts, clock, request=shared_request(system=f"{number} " * 10_000), gap_s=1)
    assert provider.named("POST") == 3


async def test_forgotten_prefixes_are_bounded_and_their_names_with_them(
    clock: HandClock, provider: BilledProvider
) -> None:
    async with Contexts(ContextSettings(max_prefixes=4), provider, clock=clock) as contexts:
        for number in range(20):
            await ask_often(contexts, clock, request=shared_request(system=f"{number} " * 10_000), gap_s=1)
        assert len(contexts._copies) <= 4
        assert len(contexts._by_name) <= 4


async def test_failed_renewal_does_not_end_a_copy_that_lives(
    contexts: Contexts, clock: HandClock, provider: BilledProvider
) -> None:
    name = await ask_often(contexts, clock)
    provider.failing["PATCH"] = ModelUnavailable("down", status=503)
    assert await ask_often(contexts, clock, 10, gap_s=300) == name
    assert 1 <= provider.named("PATCH") < 10
    provider.failing.clear()
    assert await ask_often(contexts, clock, 40, gap_s=300) == name


async def test_refused_renewal_drops_the_copy(contexts: Contexts, clock: HandClock, provider: BilledProvider) -> None:
    name = await ask_often(contexts, clock)
    provider.live.clear()
    assert await ask_often(contexts, clock, 12, gap_s=300) != name
    assert contexts.counts["lost"] == 1


async def test_closing_ends_what_is_under_way(clock: HandClock) -> None:
    begun = asyncio.Event()
    ended: list[bool] = []

    async def never(*_: Any, **__: Any) -> bytes:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)
        return b""

    async with Contexts(ContextSettings(), never, clock=clock) as contexts:
        await ask_often(contexts, clock)
        await begun.wait()
    assert ended == [True]
    assert contexts.name_for(contexts.prefix_of(shared_request()), shared_request(), TARGET) is None


@pytest.mark.parametrize("deletes", [False, True])
async def test_closing_deletes_copies_only_when_told(clock: HandClock, provider: BilledProvider, deletes: bool) -> None:
    async with Contexts(ContextSettings(delete_on_close=deletes), provider, clock=clock) as contexts:
        assert await ask_often(contexts, clock) is not None
    assert provider.named("DELETE") == deletes
    assert bool(provider.live) is not deletes


async def test_closing_survives_a_provider_that_is_gone(clock: HandClock, provider: BilledProvider) -> None:
    async with Contexts(ContextSettings(delete_on_close=True), provider, clock=clock) as contexts:
        await ask_often(contexts, clock)
        provider.failing["DELETE"] = ModelUnavailable("down", status=503)


async def test_scope_of_the_prefix_is_not_sent() -> None:
    bodies = {
        VertexDialect("global").encode(shared_request(prefix_scope=scope), model="m", streams=False)
        for scope in (None, Public(), User("secret-user"))
    }
    assert len(bodies) == 1
