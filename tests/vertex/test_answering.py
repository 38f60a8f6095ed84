"""What the client does beyond one call: retries, failover, the ladder, keeping and joining, over the wire."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from ngx_agents.clock import Rng
from ngx_agents.errors import (
    ConfigError,
    ModelAuthError,
    ModelBlocked,
    ModelError,
    ModelNotFound,
    ModelRequestError,
    ModelThrottled,
    ModelTimeout,
    ModelUnavailable,
)
from ngx_agents.vertex.client import VertexAIClient
from ngx_agents.vertex.content import ModelReply, ModelRequest, OnCut, StreamEnd, TextChunk, TextReset
from ngx_agents.vertex.dialects.vertex import VertexDialect
from ngx_agents.vertex.quota import QuotaLimit
from ngx_agents.vertex.scope import CacheRule, Cohort, Public, User
from ngx_agents.vertex.settings import VertexSettings
from tests.vertex.conftest import CHUNKS, WEIGHT_TOOL, Emulator, ask, user

RULE = CacheRule(scope=Public(), is_repeatable=True)
STREAM = "streamGenerateContent"


def client_of(emulator: Emulator, *, retry_delay: float = 0.01, **fields: Any) -> VertexAIClient:
    names = VertexSettings.__struct_fields__
    settings = VertexSettings(
        base_url=emulator.base_url, project="p", **{name: fields.pop(name) for name in list(fields) if name in names}
    )
    return VertexAIClient(settings=settings, retry_delay=retry_delay, rng=Rng(1), **fields)


@pytest_asyncio.fixture
async def client(emulator: Emulator) -> AsyncIterator[VertexAIClient]:
    async with client_of(emulator) as client:
        yield client


async def told(client: VertexAIClient, request: ModelRequest) -> tuple[str, ModelReply, int]:
    """What a reader who obeys resets has read at the end, the reply, and how many resets there were."""
    text, resets = "", 0
    async for event in client.stream(request):
        if isinstance(event, TextChunk):
            text += event.text
        elif isinstance(event, TextReset):
            text, resets = "", resets + 1
        else:
            assert isinstance(event, StreamEnd)
            return text, event.reply, resets
    raise AssertionError("the stream had no end")


# -- retries --


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
@pytest.mark.parametrize("streams", [False, True])
async def test_a_passing_failure_is_tried_again(
    client: VertexAIClient, emulator: Emulator, status: int, streams: bool
) -> None:
    emulator.script({"kind": "status", "status": status})
    reply = (await told(client, ask()))[1] if streams else await client.generate(ask())
    assert reply.attempts == 2
    assert emulator.state["calls"] == 2


async def test_a_reset_before_the_first_byte_is_tried_again(client: VertexAIClient, emulator: Emulator) -> None:
    emulator.script({"kind": "reset"})
    assert (await client.generate(ask())).attempts == 2


@pytest.mark.parametrize(("status", "error"), [(400, ModelRequestError), (403, ModelAuthError), (404, ModelNotFound)])
async def test_what_no_repetition_can_cure_is_asked_once(
    client: VertexAIClient, emulator: Emulator, status: int, error: type[ModelError]
) -> None:
    emulator.script({"kind": "status", "status": status})
    with pytest.raises(error):
        await client.generate(ask())
    assert emulator.state["calls"] == 1


@pytest.mark.parametrize(("urgency", "calls"), [(0, 3), (1, 3), (2, 3), (3, 4)])
async def test_only_batch_work_is_tried_more_than_three_times(emulator: Emulator, urgency: int, calls: int) -> None:
    emulator.script({"kind": "status", "status": 503, "times": None})
    async with client_of(emulator) as client:  # the retry budget of a quiet client allows three
        with pytest.raises(ModelUnavailable):
            await client.generate(ask(urgency=urgency))
    assert emulator.state["calls"] == calls


async def test_signatures_outlive_a_retry(client: VertexAIClient, emulator: Emulator) -> None:
    emulator.script({"kind": "status", "status": 503})
    question = user("Log my weight: 80 kg today")
    called = [event async for event in client.stream(ask(contents=(question,), tools=(WEIGHT_TOOL,)))][-1]
    assert isinstance(called, StreamEnd)
    assert called.reply.attempts == 2
    (call,) = called.reply.calls
    assert call.signature
    history = ask(contents=(question, called.reply.content))
    assert call.signature.encode() in VertexDialect("global").encode(
        history, model=VertexSettings().model, streams=False
    )


async def test_max_retries_bounds_batch_work(emulator: Emulator) -> None:
    emulator.script({"kind": "status", "status": 503, "times": None})
    async with client_of(emulator, max_retries=1) as client:
        with pytest.raises(ModelUnavailable):
            await client.generate(ask(urgency=3))
    assert emulator.state["calls"] == 2


async def test_retries_stay_a_tenth_of_calls_when_everything_fails(emulator: Emulator) -> None:
    emulator.script({"kind": "status", "status": 500, "times": None})
    async with client_of(emulator, circuit_breaker_threshold=10_000) as client:
        results = await asyncio.gather(*(client.generate(ask()) for _ in range(200)), return_exceptions=True)
    assert all(isinstance(result, ModelUnavailable) for result in results)
    assert 200 <= emulator.state["calls"] <= 200 + 20 + 3


async def test_the_deadline_wins_over_retries(emulator: Emulator) -> None:
    emulator.script({"kind": "status", "status": 503, "times": None})
    async with client_of(emulator, retry_delay=30.0) as client:
        began = time.monotonic()
        with pytest.raises(ModelUnavailable):
            await client.generate(ask(timeout_s=0.3, urgency=3))
        assert time.monotonic() - began < 3  # of the thirty that a retry waits


async def test_a_retry_after_is_kept_to(client: VertexAIClient, emulator: Emulator) -> None:
    emulator.script({"kind": "status", "status": 429, "retry_after_s": 0.3})
    began = time.monotonic()
    await client.generate(ask())
    assert time.monotonic() - began >= 0.3


async def test_a_retry_after_beyond_the_deadline_is_told_at_once(client: VertexAIClient, emulator: Emulator) -> None:
    emulator.script({"kind": "status", "status": 429, "retry_after_s": 60})
    began = time.monotonic()
    with pytest.raises(ModelThrottled) as raised:
        await client.generate(ask(timeout_s=5))
    assert raised.value.retry_after_s is not None
    assert raised.value.retry_after_s > 5
    assert time.monotonic() - began < 3


@pytest.mark.parametrize("kind", ["truncated", "empty_stop", "malformed_call", "thought_only"])
async def test_an_answer_that_cannot_be_used_is_asked_for_again(
    client: VertexAIClient, emulator: Emulator, kind: str
) -> None:
    emulator.script({"kind": kind})
    reply = await client.generate(ask())
    assert reply.text
    assert reply.attempts == 2


@pytest.mark.parametrize("streams", [False, True])
async def test_a_safety_filter_is_never_worked_around(emulator: Emulator, streams: bool) -> None:
    emulator.script({"kind": "blocked_prompt"})
    async with client_of(emulator, fallback_locations=("eu",), fallback_models=("gemini-3.7-flash",)) as client:
        with pytest.raises(ModelBlocked):
            await (told(client, ask()) if streams else client.generate(ask()))
    assert emulator.state["calls"] == 1


# failover in mid-stream


@pytest.mark.parametrize("on_cut", ["restart", "continue"])
@pytest.mark.parametrize("by_sentence", [False, True])
@pytest.mark.parametrize("fault", ["cut", "reset_in_stream", "error_in_stream", "no_finish"])
async def test_a_broken_stream_is_made_whole(emulator: Emulator, on_cut: OnCut, fault: str, by_sentence: bool) -> None:
    async with client_of(emulator, circuit_breaker_threshold=1000) as client:
        whole, _, _ = await told(client, ask("What helps my sleep?"))
        for at_chunk in range(CHUNKS):
            emulator.script({"kind": fault, "at_chunk": at_chunk, "status": 503})
            request = ask("What helps my sleep?", on_cut=on_cut, by_sentence=by_sentence)
            text, reply, resets = await told(client, request)
            assert text == reply.text == whole, at_chunk
            assert reply.attempts == 2
            assert resets == (1 if on_cut == "restart" and (at_chunk or fault == "no_finish") else 0)


async def test_a_stream_that_breaks_again_and_again_ends_in_its_error(
    client: VertexAIClient, emulator: Emulator
) -> None:
    emulator.script({"kind": "cut", "at_chunk": 3, "times": None})
    with pytest.raises(ModelUnavailable):
        await told(client, ask())
    assert 5 <= emulator.state["calls"] <= 10


async def test_stop_ends_a_broken_stream_at_once(client: VertexAIClient, emulator: Emulator) -> None:
    emulator.script({"kind": "cut", "at_chunk": 3})
    with pytest.raises(ModelUnavailable):
        await told(client, ask(on_cut="stop"))
    assert emulator.state["calls"] == 1


async def test_a_model_that_does_not_go_on_is_asked_anew(client: VertexAIClient, emulator: Emulator) -> None:
    whole, _, _ = await told(client, ask())
    emulator.script({"kind": "cut", "at_chunk": 4}, {"kind": "refusal", "name": "invalid"})
    text, reply, resets = await told(client, ask(on_cut="continue"))
    assert (text, reply.text, resets) == (whole, whole, 1)


@pytest.mark.parametrize("on_cut", ["restart", "continue"])
async def test_a_fifth_of_streams_cut_anywhere_is_seen_by_nobody(emulator: Emulator, on_cut: OnCut) -> None:
    emulator.script({"kind": "cut", "operation": STREAM, "share": 0.2, "at_chunk": 0, "at_chunk_max": CHUNKS - 1})
    async with client_of(emulator, circuit_breaker_threshold=10_000) as client:
        asked = [ask(f"question {n}", on_cut=on_cut, timeout_s=30) for n in range(300)]
        results = await asyncio.gather(*(told(client, each) for each in asked))
    assert emulator.state["streams_broken"] > 30
    for text, reply, _ in results:
        assert text == reply.text
        assert reply.finish_reason == "stop"


async def test_silence_in_mid_stream_is_a_failure_of_its_own(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ngx_agents.vertex.ladder.attempt.GAP_S", (0.1, 0.2))
    emulator.script({"kind": "stall_gap", "at_chunk": 3, "delay_ms": 5000})
    async with client_of(emulator) as client:
        began = time.monotonic()
        text, reply, resets = await told(client, ask(timeout_s=8))
        assert time.monotonic() - began < 3
    assert (text, resets) == (reply.text, 1)


async def test_silence_before_the_first_token_moves_on(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ngx_agents.vertex.ladder.attempt.FIRST_TOKEN_S", (0.1, 0.2))
    emulator.script({"kind": "stall_first", "delay_ms": 5000})
    async with client_of(emulator) as client:
        began = time.monotonic()
        text, _, resets = await told(client, ask(timeout_s=8))
        assert time.monotonic() - began < 3
    assert text
    assert resets == 0


# -- the ladder --


async def test_rungs_are_tried_in_their_order_and_named(emulator: Emulator) -> None:
    fields: dict[str, Any] = {
        "traffic": ("provisioned", "shared", "priority"),
        "fallback_locations": ("us",),
        "fallback_models": ("gemini-3.7-flash",),
    }
    seen: list[tuple[str, str, str, bool]] = []
    for failures in range(5):
        emulator.reset()
        emulator.order(pools=[{"kind": "provisioned", "concurrent": 10}])
        emulator.script(*[{"kind": "status", "status": 503}] * failures)
        async with client_of(emulator, max_retries=0, **fields) as client:
            reply = await client.generate(ask())
        seen.append((reply.rung, reply.location, reply.model, reply.is_degraded))
    primary = "gemini-3.8-flash"
    assert seen == [
        ("provisioned", "global", primary, False),
        ("shared", "global", primary, False),
        ("priority", "global", primary, False),
        ("location", "us", primary, False),
        ("sibling", "global", "gemini-3.7-flash", True),
    ]


async def test_the_headers_of_a_rung_choose_its_traffic(emulator: Emulator) -> None:
    emulator.order(pools=[{"kind": "provisioned", "concurrent": 10}])
    emulator.script({"kind": "status", "status": 503}, {"kind": "status", "status": 503})
    async with client_of(emulator, max_retries=0, traffic=("provisioned", "shared", "priority")) as client:
        await client.generate(ask())
        headers = emulator.state["last_headers"]
        assert headers["x-vertex-ai-llm-shared-request-type"] == "priority"
        await client.generate(ask())
        assert emulator.state["last_headers"]["x-vertex-ai-llm-request-type"] == "dedicated"


@pytest.mark.parametrize("streams", [False, True])
async def test_when_every_rung_fails_the_first_rungs_word_is_told(emulator: Emulator, streams: bool) -> None:
    emulator.script(
        {"kind": "refusal", "name": "quota_exceeded", "location": "global", "times": None},
        {"kind": "status", "status": 503, "times": None},
    )
    async with client_of(emulator, max_retries=0, fallback_locations=("us",)) as client:
        with pytest.raises(ModelThrottled) as raised:
            await (told(client, ask()) if streams else client.generate(ask()))
    assert raised.value.kind == "quota"
    assert emulator.state["calls"] == 2


async def test_a_hanging_rung_leaves_time_for_the_next(emulator: Emulator) -> None:
    emulator.script({"kind": "stall_first", "delay_ms": 20_000, "location": "global", "times": None})
    async with client_of(emulator, max_retries=0, fallback_locations=("us",)) as client:
        reply = await client.generate(ask(timeout_s=1.0))
    assert (reply.rung, reply.location) == ("location", "us")


async def test_all_rungs_together_keep_the_deadline(emulator: Emulator) -> None:
    emulator.script({"kind": "stall_first", "delay_ms": 20_000, "times": None})
    async with client_of(emulator, fallback_locations=("us", "eu"), fallback_models=("gemini-3.7-flash",)) as client:
        for streams in (False, True):
            began = time.monotonic()
            with pytest.raises(ModelTimeout):
                await (told(client, ask(timeout_s=0.6)) if streams else client.generate(ask(timeout_s=0.6)))
            assert time.monotonic() - began < 1.2  # two rungs, each with the whole of it


async def test_eu_only_never_leaves_europe_whatever_fails(emulator: Emulator) -> None:
    emulator.script({"kind": "status", "status": 503, "times": None})
    fields: dict[str, Any] = {"location": "eu", "fallback_locations": ("europe-west1", "europe-north1")}
    async with client_of(emulator, residency="eu", max_retries=0, **fields) as client:
        with pytest.raises(ModelUnavailable):
            await client.generate(ask())
    assert {each["location"] for each in emulator.state["requests"]} <= {"eu", "europe-west1", "europe-north1"}


async def test_a_request_may_be_stricter_than_the_client(emulator: Emulator) -> None:
    async with client_of(emulator, fallback_locations=("eu", "us"), max_retries=0) as client:
        reply = await client.generate(ask(residency="eu"))
        assert reply.location == "eu"
        emulator.script({"kind": "status", "status": 503, "times": None})
        with pytest.raises(ModelUnavailable):
            await client.generate(ask(residency="eu"))
    assert {each["location"] for each in emulator.state["requests"]} == {"eu"}


async def test_a_residency_that_nothing_satisfies_calls_nobody(emulator: Emulator) -> None:
    async with client_of(emulator) as client:
        with pytest.raises(ModelNotFound, match="residency"):
            await client.generate(ask(residency="eu"))
    assert emulator.state["calls"] == 0


@pytest.mark.parametrize(
    "fields",
    [
        {"residency": "eu"},
        {"residency": "eu", "location": "eu", "fallback_locations": ("us",)},
        {"residency": "us", "location": "us", "fallback_locations": ("global",)},
        {"traffic": ("priority",), "location": "eu"},
    ],
)
async def test_settings_that_contradict_are_refused_at_the_start(emulator: Emulator, fields: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        async with client_of(emulator, **fields):
            pass


async def test_the_local_model_answers_simple_questions_when_nothing_else_does(emulator: Emulator) -> None:
    emulator.script({"kind": "status", "status": 503, "operation": "*enerateContent", "times": None})
    async with client_of(emulator, local_url=f"{emulator.base_url}/v1", local_model="small", max_retries=0) as client:
        reply = await client.generate(ask("¿Cuánta agua debo beber?", is_simple=True))
        assert (reply.source, reply.rung, reply.is_degraded) == ("local", "local", True)
        text, reply, _ = await told(client, ask("¿Cuánta agua debo beber?", is_simple=True))
        assert (text, reply.source) == (reply.text, "local")
        with pytest.raises(ModelUnavailable):
            await client.generate(ask("Hazme un plan de doce semanas"))


# -- breaker --


async def test_a_model_that_only_fails_is_left_alone(emulator: Emulator) -> None:
    emulator.script({"kind": "status", "status": 500, "times": None})
    async with client_of(emulator, max_retries=0, circuit_breaker_threshold=5, circuit_breaker_timeout=0.2) as client:
        for _ in range(12):
            with pytest.raises(ModelUnavailable):
                await client.generate(ask())
        assert emulator.state["calls"] == 5
        emulator.script()
        await asyncio.sleep(0.3)
        assert (await client.generate(ask())).text


async def test_429_never_opens_the_breaker(emulator: Emulator) -> None:
    emulator.script({"kind": "refusal", "name": "shared_exhausted", "times": None})
    async with client_of(emulator, max_retries=0, circuit_breaker_threshold=3) as client:
        for _ in range(4):
            with pytest.raises(ModelThrottled):
                await client.generate(ask(timeout_s=3))
        emulator.script()
        assert (await client.generate(ask(timeout_s=5))).text


async def test_refusals_of_the_request_never_open_the_breaker(emulator: Emulator) -> None:
    emulator.script({"kind": "status", "status": 400, "times": 20})
    async with client_of(emulator, max_retries=0, circuit_breaker_threshold=3) as client:
        for _ in range(20):
            with pytest.raises(ModelRequestError):
                await client.generate(ask())
        assert (await client.generate(ask())).text


# -- kept and joined --


@pytest.mark.parametrize("streams", [False, True])
async def test_a_kept_answer_is_given_again_with_its_age(
    client: VertexAIClient, emulator: Emulator, streams: bool
) -> None:
    first, reply, _ = await told(client, ask(cache=RULE))
    assert reply.source == "model"
    if streams:
        chunks = [event.text async for event in client.stream(ask(cache=RULE)) if isinstance(event, TextChunk)]
        assert len(chunks) == CHUNKS
        again, reply, _ = await told(client, ask(cache=RULE))
        assert again == first
    else:
        reply = await client.generate(ask(cache=RULE))
    assert (reply.source, reply.text, reply.finish_reason) == ("cache", first, "stop")
    assert reply.age_s > 0
    assert reply.usage.output_tokens > 0
    assert emulator.state["calls"] == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (User("ana"), User("eva")),
        (User("ana"), Public()),
        (Cohort("es"), Cohort("en")),
        (Cohort("ana"), User("ana")),
    ],
)
async def test_scopes_never_share(client: VertexAIClient, emulator: Emulator, one: Any, other: Any) -> None:
    for scope in (one, other, one, other):
        await client.generate(ask(cache=CacheRule(scope=scope, is_repeatable=True)))
    assert emulator.state["calls"] == 2


async def test_without_a_rule_nothing_is_kept_or_joined(client: VertexAIClient, emulator: Emulator) -> None:
    await asyncio.gather(*(client.generate(ask()) for _ in range(5)))
    assert emulator.state["calls"] == 5


async def test_cache_off_keeps_nothing_but_still_joins(emulator: Emulator) -> None:
    async with client_of(emulator, cache_enabled=False) as client:
        await asyncio.gather(*(client.generate(ask(cache=RULE)) for _ in range(20)))
        assert emulator.state["calls"] == 1
        await client.generate(ask(cache=RULE))
    assert emulator.state["calls"] == 2


async def test_cache_ttl_is_how_long_a_general_answer_is_fresh(emulator: Emulator) -> None:
    async with client_of(emulator, cache_ttl=0.15) as client:
        await client.generate(ask(cache=RULE))
        assert (await client.generate(ask(cache=RULE))).source == "cache"
        await asyncio.sleep(0.2)
        assert (await client.generate(ask(cache=RULE))).source == "stale"  # and is being renewed
        async with asyncio.timeout(3):
            while emulator.state["calls"] < 2:  # noqa: ASYNC110  # the emulator cannot tell us
                await asyncio.sleep(0.01)
        assert (await client.generate(ask(cache=RULE))).source == "cache"


async def test_max_cache_size_bounds_the_answers_that_are_kept(emulator: Emulator) -> None:
    async with client_of(emulator, max_cache_size=2) as client:
        for text in ("one", "two", "three", "three", "two", "one"):
            await client.generate(ask(text, cache=RULE))
    assert emulator.state["calls"] == 4


async def test_a_stale_answer_stands_in_when_everything_fails(emulator: Emulator) -> None:
    rule = CacheRule(scope=Public(), query_class="news", is_repeatable=True)
    async with client_of(emulator, cache_ttl=0.05, max_retries=0) as client:
        general = CacheRule(scope=Public(), is_repeatable=True)
        await client.generate(ask(cache=general))
        await asyncio.sleep(0.1)
        emulator.script({"kind": "status", "status": 503, "times": None})
        reply = await client.generate(ask(cache=general))
        assert reply.source == "stale"
        assert reply.age_s >= 0.1
        with pytest.raises(ModelUnavailable):
            await client.generate(ask(cache=rule))


async def test_a_thousand_equal_streams_are_one_call(emulator: Emulator) -> None:
    async with client_of(emulator) as client:
        results = await asyncio.gather(*(told(client, ask(cache=RULE, timeout_s=30)) for _ in range(1000)))
    assert emulator.state["calls"] == 1
    assert len({text for text, _, _ in results}) == 1


async def test_tool_calls_are_never_kept(client: VertexAIClient, emulator: Emulator) -> None:
    emulator.script({"kind": "force_call", "name": "log_weight", "arguments": {"kg": 80}, "times": 2})
    for _ in range(2):
        assert (await client.generate(ask(cache=RULE))).calls
    assert emulator.state["calls"] == 2


async def test_an_erased_user_has_nothing_kept(client: VertexAIClient, emulator: Emulator) -> None:
    rule = CacheRule(scope=User("ana"), is_repeatable=True)
    await client.generate(ask(cache=rule))
    assert await client.erase_user("ana") >= 1
    await client.generate(ask(cache=rule))
    assert emulator.state["calls"] == 2


async def test_an_answer_of_a_sibling_model_is_not_kept_as_the_models_own(emulator: Emulator) -> None:
    emulator.script({"kind": "status", "status": 503, "model": "gemini-3.8-flash", "times": 1})
    async with client_of(emulator, fallback_models=("gemini-3.7-flash",), max_retries=0) as client:
        assert (await client.generate(ask(cache=RULE))).rung == "sibling"
        assert (await client.generate(ask(cache=RULE))).rung == "shared"
    assert emulator.state["calls"] == 3


async def test_the_model_goes_on_from_its_own_unfinished_turn(client: VertexAIClient) -> None:
    from ngx_agents.vertex.content import Content, Text

    whole = (await client.generate(ask("Hola"))).text
    begun = Content(role="model", parts=(Text(text=whole[:25]),))
    rest = await client.generate(ask(contents=(user("Hola"), begun)))
    assert whole[:25] + rest.text == whole


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("connection_pool_size", 0),
        ("max_cache_size", 0),
        ("max_retries", -1),
        ("retry_delay", -1.0),
        ("circuit_breaker_threshold", 0),
        ("circuit_breaker_timeout", 0),
        ("retry_delay", float("nan")),
    ],
)
async def test_a_parameter_without_sense_is_named(emulator: Emulator, name: str, value: float) -> None:
    settings = VertexSettings(base_url=emulator.base_url, project="p")
    with pytest.raises(ConfigError, match=name):
        async with VertexAIClient(settings=settings, **{name: value}):
            pass


# -- prefixes kept at the provider --

LONG = "Eres un entrenador. " * 1200


async def test_a_prefix_that_is_asked_for_often_is_kept_at_the_provider(emulator: Emulator) -> None:
    async with client_of(emulator) as client:
        asked = [ask(f"¿Y {n}?", system=LONG, prefix_scope=Public()) for n in range(60)]
        replies = [await client.generate(each) for each in asked]
        async with asyncio.timeout(5):
            while not emulator.state["caches"]["creates"]:
                replies.append(
                    await client.generate(ask(f"¿Y ahora {len(replies)}?", system=LONG, prefix_scope=Public()))
                )
        await asyncio.sleep(0.1)
        reply = await client.generate(ask("¿Y al final?", system=LONG, prefix_scope=Public()))
        assert reply.usage.cached_tokens > 4000
        _, streamed, _ = await told(client, ask("¿Y en voz alta?", system=LONG, prefix_scope=Public()))
        assert streamed.usage.cached_tokens > 4000
    assert emulator.state["caches"]["creates"] == 1


@pytest.mark.parametrize("how", ["expire", "delete"])
@pytest.mark.parametrize("streams", [False, True])
async def test_a_kept_prefix_that_is_gone_is_noticed_by_nobody(emulator: Emulator, how: str, streams: bool) -> None:
    async with client_of(emulator) as client:
        while not emulator.state["caches"]["uses"]:
            await client.generate(ask("¿Y?", system=LONG, prefix_scope=Public()))
        emulator.order(caches={how: ["*"]})
        request = ask("¿Y después?", system=LONG, prefix_scope=Public())
        reply = (await told(client, request))[1] if streams else await client.generate(request)
        assert reply.text
        assert (reply.attempts, reply.usage.cached_tokens) == (1, 0)


async def test_nobodys_prefix_is_never_kept(emulator: Emulator) -> None:
    async with client_of(emulator) as client:
        for _ in range(30):
            await client.generate(ask("¿Y?", system=LONG))
    assert emulator.state["caches"]["creates"] == 0


# -- a limit that the operator set --


async def test_what_does_not_fit_into_a_limit_is_refused_with_a_true_wait(emulator: Emulator) -> None:
    limit = QuotaLimit(model="gemini-*", requests_per_min=6)  # what does not fit at once would wait for ten seconds
    async with client_of(emulator, quota=(limit,), max_retries=0) as client:
        results = await asyncio.gather(*(client.generate(ask(timeout_s=5)) for _ in range(100)), return_exceptions=True)
    refused = [each for each in results if isinstance(each, ModelThrottled)]
    assert len(refused) + emulator.state["calls"] == 100
    assert 1 <= emulator.state["calls"] <= 6
    assert {each.kind for each in refused} == {"quota"}
    assert all(each.retry_after_s and each.retry_after_s > 0 for each in refused)


async def test_a_limit_of_one_model_leaves_its_sibling_free(emulator: Emulator) -> None:
    limit = QuotaLimit(model="gemini-3.8-flash", requests_per_min=1)
    async with client_of(emulator, quota=(limit,), max_retries=0, fallback_models=("gemini-3.7-flash",)) as client:
        rungs = {(await client.generate(ask(timeout_s=2))).rung for _ in range(5)}
    assert "sibling" in rungs
