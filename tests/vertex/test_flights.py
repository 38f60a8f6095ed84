"""Equal calls under way are one call, whoever comes late, leaves early, or has less time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from hashlib import sha256
from typing import Any

import pytest
import pytest_asyncio

from ngx_agents.clock import SystemClock
from ngx_agents.errors import (
    DeadlineExceeded,
    ModelBlocked,
    ModelError,
    ModelThrottled,
    ModelTimeout,
    ModelUnavailable,
)
from ngx_agents.telemetry.metrics import Metrics
from ngx_agents.vertex.cache.key import CacheKey
from ngx_agents.vertex.content import (
    Content,
    ModelReply,
    ModelRequest,
    Part,
    StreamEnd,
    Text,
    TextChunk,
    TextReset,
    ToolCall,
    Usage,
)
from ngx_agents.vertex.flight import Event, Then
from ngx_agents.vertex.flights import Flights, manner_of

SOON_S = 5.0


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest_asyncio.fixture
async def flights(metrics: Metrics) -> AsyncIterator[Flights]:
    async with Flights(clock=SystemClock(), metrics=metrics, max_refreshes=2) as flights:
        yield flights
        assert len(flights) == 0


def key_of(question: str) -> CacheKey:
    digest = sha256(question.encode()).digest()
    return CacheKey(digest, group=None, query_class="general", model="m", location_class="global", epoch=0)


def said(*parts: Part | str) -> ModelReply:
    made = tuple(Text(text=part) if isinstance(part, str) else part for part in parts)
    return ModelReply(
        content=Content(role="model", parts=made),
        finish_reason="stop",
        usage=Usage(input_tokens=3, output_tokens=5),
        model="m",
        location="global",
        provider="vertex",
    )


def in_s(seconds: float = SOON_S) -> float:
    return time.monotonic() + seconds


class Call:
    """One call under the test's hand: it goes on by one event whenever the test says so."""

    def __init__(self) -> None:
        self.made = 0
        self.cancelled = 0
        self._script: asyncio.Queue[Event | BaseException] = asyncio.Queue()

    def goes_on(self, *events: Event | BaseException | str) -> None:
        for event in events:
            self._script.put_nowait(TextChunk(event) if isinstance(event, str) else event)

    async def stream(self) -> AsyncGenerator[Event]:
        self.made += 1
        try:
            while True:
                event = await self._script.get()
                if isinstance(event, BaseException):
                    raise event
                yield event
                if isinstance(event, StreamEnd):
                    return
        except asyncio.CancelledError:
            self.cancelled += 1
            raise

    async def reply(self) -> ModelReply:
        async with aclosing(self.stream()) as events:
            async for event in events:
                if isinstance(event, StreamEnd):
                    return event.reply
        raise AssertionError("no end")


async def collected(events: AsyncGenerator[Event]) -> list[Event]:
    return [event async for event in events]


def spawn(group: asyncio.TaskGroup, made: Any) -> asyncio.Task[Any]:
    return group.create_task(made)


async def turns_of_the_loop(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


END = StreamEnd(said("ab"))


async def test_a_thousand_equal_streams_are_one_call_with_identical_parts(flights: Flights, metrics: Metrics) -> None:
    call = Call()
    key = key_of("q")
    async with asyncio.TaskGroup() as group:
        tasks = [spawn(group, collected(flights.stream(key, call.stream, deadline_s=in_s()))) for _ in range(1000)]
        await turns_of_the_loop()
        call.goes_on("a", "b", END)
    assert call.made == 1
    first = tasks[0].result()
    assert [event.text for event in first[:2]] == ["a", "b"]
    assert all(task.result() == first for task in tasks)
    assert metrics.counter("ngx_flights_total", "", "event").labels("joined").value == 999


async def test_a_thousand_equal_replies_are_one_call(flights: Flights) -> None:
    call = Call()
    async with asyncio.TaskGroup() as group:
        tasks = [spawn(group, flights.reply(key_of("q"), call.reply, deadline_s=in_s())) for _ in range(1000)]
        await turns_of_the_loop()
        call.goes_on(END)
    assert call.made == 1
    assert all(task.result().content.parts == END.reply.content.parts for task in tasks)
    assert len({id(task.result().content) for task in tasks}) == 1000, "a content is nobody else's"


async def test_calls_without_a_key_or_with_another_one_are_calls_of_their_own(flights: Flights) -> None:
    calls = [Call() for _ in range(5)]
    keys = [None, None, key_of("a"), key_of("b"), None]
    async with asyncio.TaskGroup() as group:
        for call, key in zip(calls, keys, strict=True):
            spawn(group, collected(flights.stream(key, call.stream, deadline_s=in_s())))
            call.goes_on("a", "b", END)
    assert [call.made for call in calls] == [1] * 5


async def test_calls_to_be_made_in_another_manner_are_not_joined(flights: Flights) -> None:
    patient = ModelRequest(system="", contents=(), deadline_s=1, urgency=3)
    urgent = ModelRequest(system="", contents=(), deadline_s=2, urgency=0)
    calls = [Call() for _ in range(3)]
    async with asyncio.TaskGroup() as group:
        for call, request in zip(calls, (patient, urgent, patient), strict=True):
            started = flights.reply(key_of("q"), call.reply, deadline_s=in_s(), manner=manner_of(request))
            spawn(group, started)
        await turns_of_the_loop()
        for call in calls:
            call.goes_on(END)
    assert [call.made for call in calls] == [1, 1, 0]


async def test_late_joiner_gets_the_beginning_then_what_comes(flights: Flights) -> None:
    call = Call()
    async with asyncio.TaskGroup() as group:
        leader = spawn(group, collected(flights.stream(key_of("q"), call.stream, deadline_s=in_s())))
        call.goes_on("a")
        await turns_of_the_loop()
        late = flights.stream(key_of("q"), call.stream, deadline_s=in_s())
        assert await anext(late) == TextChunk("a")
        call.goes_on("b", END)
        assert await collected(late) == [TextChunk("b"), END]
    assert leader.result() == [TextChunk("a"), TextChunk("b"), END]
    assert call.made == 1


async def test_reply_joins_an_equal_stream_under_way(flights: Flights) -> None:
    call = Call()
    async with asyncio.TaskGroup() as group:
        spawn(group, collected(flights.stream(key_of("q"), call.stream, deadline_s=in_s())))
        await turns_of_the_loop()
        joined = spawn(group, flights.reply(key_of("q"), call.reply, deadline_s=in_s()))
        await turns_of_the_loop()
        call.goes_on("a", "b", END)
    assert joined.result() == END.reply
    assert call.made == 1


async def test_after_the_answer_the_next_call_is_a_new_one(flights: Flights) -> None:
    call = Call()
    call.goes_on(END, END)
    for made in (1, 2):
        assert await flights.reply(key_of("q"), call.reply, deadline_s=in_s()) == END.reply
        assert call.made == made


async def test_cancel_of_the_leader_hands_over(flights: Flights) -> None:
    call = Call()
    async with asyncio.TaskGroup() as group:
        leader = spawn(group, collected(flights.stream(key_of("q"), call.stream, deadline_s=in_s())))
        await turns_of_the_loop()
        joiner = spawn(group, collected(flights.stream(key_of("q"), call.stream, deadline_s=in_s())))
        call.goes_on("a")
        await turns_of_the_loop()
        leader.cancel()
        await turns_of_the_loop()
        call.goes_on("b", END)
    assert joiner.result() == [TextChunk("a"), TextChunk("b"), END]
    assert (call.made, call.cancelled) == (1, 0)


async def test_call_ends_when_the_last_waiter_leaves(flights: Flights) -> None:
    call = Call()
    async with asyncio.TaskGroup() as group:
        tasks = [spawn(group, flights.reply(key_of("q"), call.reply, deadline_s=in_s())) for _ in range(3)]
        await turns_of_the_loop()
        tasks[0].cancel()
        tasks[2].cancel()
        await turns_of_the_loop()
        assert call.cancelled == 0
        tasks[1].cancel()
    await turns_of_the_loop()
    assert call.cancelled == 1
    assert len(flights) == 0


async def test_closing_a_stream_early_leaves_the_flight(flights: Flights) -> None:
    call = Call()
    call.goes_on("a")
    stream = flights.stream(key_of("q"), call.stream, deadline_s=in_s())
    assert await anext(stream) == TextChunk("a")
    await stream.aclose()
    await turns_of_the_loop()
    assert call.cancelled == 1


async def test_who_comes_while_an_abandoned_call_unwinds_starts_a_new_one(flights: Flights) -> None:
    abandoned, fresh = Call(), Call()
    async with asyncio.TaskGroup() as group:
        leader = spawn(group, flights.reply(key_of("q"), abandoned.reply, deadline_s=in_s()))
        await turns_of_the_loop()
        leader.cancel()
        await turns_of_the_loop(1)
        fresh.goes_on(END)
        assert await flights.reply(key_of("q"), fresh.reply, deadline_s=in_s()) == END.reply


async def test_every_joiner_gets_an_error_instance_of_its_own_with_its_cause(flights: Flights) -> None:
    call = Call()
    original = ModelThrottled("too many", status=429, retry_after_s=2.5)

    async def wait_for_error() -> ModelError:
        with pytest.raises(ModelThrottled) as raised:
            await flights.reply(key_of("q"), call.reply, deadline_s=in_s())
        return raised.value

    async with asyncio.TaskGroup() as group:
        tasks = [spawn(group, wait_for_error()) for _ in range(20)]
        await turns_of_the_loop()
        call.goes_on(original)
    errors = [task.result() for task in tasks]
    assert len({id(error) for error in [*errors, original]}) == 21
    for error in errors:
        assert error.__cause__ is original
        assert (str(error), error.status, error.retry_after_s) == ("too many", 429, 2.5)
    assert call.made == 1


async def test_errors_that_are_no_model_errors_reach_the_waiter_too(flights: Flights) -> None:
    async def breaks() -> ModelReply:
        raise ZeroDivisionError("bug")

    with pytest.raises(ZeroDivisionError, match="bug"):
        await flights.reply(key_of("q"), breaks, deadline_s=in_s())
    assert len(flights) == 0


async def test_text_before_an_error_is_still_given(flights: Flights) -> None:
    call = Call()
    call.goes_on("a", ModelUnavailable("cut"))
    stream = flights.stream(key_of("q"), call.stream, deadline_s=in_s())
    assert await anext(stream) == TextChunk("a")
    with pytest.raises(ModelUnavailable, match="cut"):
        await anext(stream)


async def test_stream_without_an_end_is_an_error(flights: Flights) -> None:
    async def ends_early() -> AsyncGenerator[Event]:
        yield TextChunk("a")

    with pytest.raises(ModelUnavailable):
        await collected(flights.stream(key_of("q"), ends_early, deadline_s=in_s()))


async def test_endless_answer_is_an_error(flights: Flights) -> None:
    async def endless() -> AsyncGenerator[Event]:
        while True:
            yield TextChunk("x" * 2**20)

    with pytest.raises(ModelError, match="longer"):
        await collected(flights.stream(key_of("q"), endless, deadline_s=in_s()))


async def test_each_waits_only_until_its_own_deadline(flights: Flights) -> None:
    call = Call()
    async with asyncio.TaskGroup() as group:
        patient = spawn(group, flights.reply(key_of("q"), call.reply, deadline_s=in_s()))
        await turns_of_the_loop()
        with pytest.raises(ModelTimeout):
            await flights.reply(key_of("q"), call.reply, deadline_s=in_s(0.02))
        call.goes_on(END)
    assert patient.result() == END.reply
    assert (call.made, call.cancelled) == (1, 0)


async def test_nothing_starts_after_its_deadline(flights: Flights) -> None:
    call = Call()
    with pytest.raises(ModelTimeout):
        await flights.reply(key_of("q"), call.reply, deadline_s=in_s(-0.01))
    assert call.made == 0


async def test_reset_withdraws_from_those_who_read_and_shows_the_rest_only_what_holds(flights: Flights) -> None:
    call = Call()
    reset = TextReset("model_unavailable")
    async with asyncio.TaskGroup() as group:
        early = spawn(group, collected(flights.stream(key_of("q"), call.stream, deadline_s=in_s())))
        await turns_of_the_loop()
        slow = flights.stream(key_of("q"), call.stream, deadline_s=in_s())
        unread = flights.stream(key_of("q"), call.stream, deadline_s=in_s())
        call.goes_on("wrong", "worse")
        assert await anext(slow) == TextChunk("wrong")
        waiting = spawn(group, anext(unread))
        await waiting
        call.goes_on(reset, "a")
        await turns_of_the_loop()
        late = spawn(group, collected(flights.stream(key_of("q"), call.stream, deadline_s=in_s())))
        await turns_of_the_loop()
        call.goes_on("b", END)
        assert await collected(slow) == [reset, TextChunk("a"), TextChunk("b"), END], "'worse' was withdrawn unread"
        await unread.aclose()
    assert early.result() == [TextChunk("wrong"), TextChunk("worse"), reset, TextChunk("a"), TextChunk("b"), END]
    assert late.result() == [TextChunk("a"), TextChunk("b"), END]


async def test_resets_while_a_reader_looks_away_are_told_once(flights: Flights) -> None:
    call = Call()
    stream = flights.stream(key_of("q"), call.stream, deadline_s=in_s())
    call.goes_on("x")
    assert await anext(stream) == TextChunk("x")
    call.goes_on(TextReset("one"), "y", TextReset("two"), "a", END)
    await turns_of_the_loop(20)
    assert await collected(stream) == [TextReset("two"), TextChunk("a"), END]


def starts_with(call: Call, deadline_s: float, error: type[Exception]) -> Callable[[], AsyncGenerator[Event]]:
    """A call that says one word and fails at its maker's deadline."""

    async def stream() -> AsyncGenerator[Event]:
        call.made += 1
        yield TextChunk("cut")
        await asyncio.sleep(max(0.0, deadline_s - time.monotonic()))
        raise error("no time left")

    return stream


@pytest.mark.parametrize("error", [ModelTimeout, DeadlineExceeded])
async def test_call_that_failed_by_its_makers_deadline_is_made_again_for_who_has_time(
    flights: Flights, error: type[Exception], metrics: Metrics
) -> None:
    short, long, longest = Call(), Call(), Call()
    end_s = in_s(0.03)
    longest.goes_on("a", END)
    async with asyncio.TaskGroup() as group:
        first = flights.stream(key_of("q"), starts_with(short, end_s, error), deadline_s=end_s)
        assert await anext(first) == TextChunk("cut")
        joiners = [
            spawn(group, collected(flights.stream(key_of("q"), call.stream, deadline_s=in_s(seconds))))
            for call, seconds in ((long, 3), (longest, 4))
        ]
    await first.aclose()
    for joiner in joiners:
        assert joiner.result() == [TextChunk("cut"), TextReset("model_timeout"), TextChunk("a"), END]
    assert [short.made, long.made, longest.made] == [1, 0, 1]
    assert metrics.counter("ngx_flights_total", "", "event").labels("restarted").value == 1


async def test_restart_for_a_reply_still_gives_text_to_those_who_stream(flights: Flights) -> None:
    short, patient = Call(), Call()
    end_s = in_s(0.03)
    patient.goes_on(END)
    async with asyncio.TaskGroup() as group:
        first = flights.stream(key_of("q"), starts_with(short, end_s, ModelTimeout), deadline_s=end_s)
        await anext(first)
        reader = spawn(group, collected(flights.stream(key_of("q"), patient.stream, deadline_s=in_s(2))))
        await turns_of_the_loop()
        reply = spawn(group, flights.reply(key_of("q"), patient.reply, deadline_s=in_s(4)))
    assert reply.result() == END.reply
    assert reader.result()[-2:] == [TextChunk("ab"), END]
    await first.aclose()


async def test_timeout_long_before_the_makers_deadline_reaches_everybody(flights: Flights) -> None:
    call = Call()

    async def times_out(deadline_s: float) -> None:
        with pytest.raises(ModelTimeout):
            await flights.reply(key_of("q"), call.reply, deadline_s=deadline_s)

    async with asyncio.TaskGroup() as group:
        spawn(group, times_out(in_s(3)))
        spawn(group, times_out(in_s(9)))
        await turns_of_the_loop()
        call.goes_on(ModelTimeout("first token"))
    assert call.made == 1


async def test_slow_joiner_holds_nobody_up_and_misses_nothing(flights: Flights) -> None:
    call = Call()
    async with asyncio.TaskGroup() as group:
        fast = spawn(group, collected(flights.stream(key_of("q"), call.stream, deadline_s=in_s())))
        await turns_of_the_loop()
        slow = flights.stream(key_of("q"), call.stream, deadline_s=in_s())
        call.goes_on(*("x" for _ in range(500)), END)
        assert await anext(slow) == TextChunk("x")
        assert len(await fast) == 501
        await turns_of_the_loop()
        assert len(flights) == 0
        assert len(await collected(slow)) == 500


async def test_tool_arguments_are_nobody_elses(flights: Flights) -> None:
    call = Call()
    async with asyncio.TaskGroup() as group:
        tasks = [spawn(group, flights.reply(key_of("q"), call.reply, deadline_s=in_s())) for _ in range(2)]
        await turns_of_the_loop()
        call.goes_on(StreamEnd(said(ToolCall(name="log", arguments={"kg": [70]}, signature="s"))))
    one, other = (task.result() for task in tasks)
    one.calls[0].arguments["kg"].append(71)
    assert other.calls[0].arguments == {"kg": [70]}
    assert other.calls[0].signature == "s"


async def test_leaving_the_context_ends_every_call_with_a_clear_error(metrics: Metrics) -> None:
    call = Call()
    flights = Flights(clock=SystemClock(), metrics=metrics)

    async def is_told() -> None:
        with pytest.raises(ModelUnavailable):
            await flights.reply(key_of("q"), call.reply, deadline_s=in_s())

    async with asyncio.TaskGroup() as group:
        async with flights:
            tasks = [spawn(group, is_told()) for _ in range(3)]
            await turns_of_the_loop()
        assert call.cancelled == 1
    assert all(task.done() for task in tasks)
    with pytest.raises(RuntimeError, match="context"):
        await flights.reply(key_of("q"), call.reply, deadline_s=in_s())


async def test_call_that_cancels_itself_leaves_nobody_waiting(flights: Flights) -> None:
    async def cancels() -> ModelReply:
        raise asyncio.CancelledError

    with pytest.raises(ModelUnavailable):
        await flights.reply(key_of("q"), cancels, deadline_s=in_s())


async def test_what_is_done_with_the_answer_comes_after_it_and_is_awaited_by_nobody(flights: Flights) -> None:
    call, done, may_go = Call(), [], asyncio.Event()

    async def keep(reply: ModelReply, chunks: tuple[str, ...]) -> None:
        await may_go.wait()
        done.append((reply, chunks))

    call.goes_on("x", TextReset("cut"), "a", "b", END)
    stream = flights.stream(key_of("q"), call.stream, deadline_s=in_s(), then=keep)
    assert (await collected(stream))[-1] == END
    late = await collected(flights.stream(key_of("q"), call.stream, deadline_s=in_s(), then=keep))
    assert late == [TextChunk("a"), TextChunk("b"), END], "who comes before it is done still boards"
    assert (call.made, done) == (1, [])
    may_go.set()
    await turns_of_the_loop()
    assert done == [(END.reply, ("a", "b"))]
    assert len(flights) == 0


async def test_after_a_restart_it_is_done_by_who_made_the_call(flights: Flights) -> None:
    short, patient = Call(), Call()
    done: list[str] = []

    def noting(name: str) -> Then:
        async def note(_reply: ModelReply, chunks: tuple[str, ...]) -> None:
            done.append(f"{name} {chunks}")

        return note

    end_s = in_s(0.03)
    patient.goes_on("a", "b", END)
    starts = starts_with(short, end_s, ModelTimeout)
    first = flights.stream(key_of("q"), starts, deadline_s=end_s, then=noting("first"))
    await anext(first)
    await collected(flights.stream(key_of("q"), patient.stream, deadline_s=in_s(), then=noting("second")))
    await first.aclose()
    await turns_of_the_loop()
    assert done == ["second ('a', 'b')"]


@pytest.mark.parametrize("error", [ModelUnavailable("cut"), ZeroDivisionError("bug")])
async def test_nothing_is_done_with_no_answer_and_its_own_failure_harms_nobody(
    flights: Flights, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    call, tried = Call(), []

    async def fails(reply: ModelReply, _chunks: tuple[str, ...]) -> None:
        tried.append(reply)
        raise error

    call.goes_on("a", ModelUnavailable("cut"), END)
    with pytest.raises(ModelUnavailable):
        await flights.reply(key_of("q"), call.reply, deadline_s=in_s(), then=fails)
    assert tried == []
    assert await flights.reply(key_of("q"), call.reply, deadline_s=in_s(), then=fails) == END.reply
    await turns_of_the_loop()
    assert tried == [END.reply]
    assert "flight.then_failed" in caplog.text
    assert len(flights) == 0


async def test_refresh_runs_once_for_nobody_and_can_be_joined(flights: Flights) -> None:
    call = Call()
    assert flights.refresh(key_of("q"), call.reply, deadline_s=in_s())
    assert not flights.refresh(key_of("q"), call.reply, deadline_s=in_s())
    async with asyncio.TaskGroup() as group:
        joiner = spawn(group, flights.reply(key_of("q"), call.reply, deadline_s=in_s()))
        await turns_of_the_loop()
        call.goes_on(END)
    assert joiner.result() == END.reply
    assert call.made == 1


async def test_refreshes_are_bounded_and_end_at_their_deadline(flights: Flights, metrics: Metrics) -> None:
    call = Call()
    for question in ("a", "b"):
        assert flights.refresh(key_of(question), call.reply, deadline_s=in_s(0.02))
    assert not flights.refresh(key_of("c"), call.reply, deadline_s=in_s())
    await asyncio.sleep(0.04)
    assert call.cancelled == 2
    assert len(flights) == 0
    call.goes_on(ModelBlocked("no"))
    assert flights.refresh(key_of("c"), call.reply, deadline_s=in_s())
    await turns_of_the_loop()
    call.goes_on(END)
    assert flights.refresh(key_of("c"), call.reply, deadline_s=in_s())
    await turns_of_the_loop()
    assert len(flights) == 0
    events = metrics.counter("ngx_flights_total", "", "event")
    assert (events.labels("refresh_failed").value, events.labels("refreshed").value) == (3, 1)


def counting(question: int, made: list[int]) -> Callable[[], AsyncGenerator[Event]]:
    """A call in four pieces that names its question in each."""
    pieces = [f"{question}.{piece} " for piece in range(4)]

    async def stream() -> AsyncGenerator[Event]:
        made.append(question)
        for piece in pieces:
            await asyncio.sleep(0)
            yield TextChunk(piece)
        yield StreamEnd(said("".join(pieces)))

    return stream


def is_whole(events: list[Event], question: int) -> bool:
    text = "".join(event.text for event in events if isinstance(event, TextChunk))
    end = events[-1]
    return isinstance(end, StreamEnd) and text == end.reply.text and text.startswith(f"{question}.0")


async def test_storm_of_cancels_leaves_no_flight_and_gives_whole_answers_only(flights: Flights) -> None:
    """Waves of readers of few questions, most of them cancelled at any point."""
    made: list[int] = []
    kept: list[tuple[int, asyncio.Task[list[Event]]]] = []
    async with asyncio.TaskGroup() as group:
        for wave in range(40):
            questions = [question for question in range(10) for _ in range(5)]
            tasks = [
                spawn(group, collected(flights.stream(key_of(str(q)), counting(q, made), deadline_s=in_s())))
                for q in questions
            ]
            await turns_of_the_loop(wave % 9)
            stays = [(index * 7 + wave) % 5 == 0 for index in range(len(tasks))]
            kept += [(q, task) for q, task, is_kept in zip(questions, tasks, stays, strict=True) if is_kept]
            for task in (task for task, is_kept in zip(tasks, stays, strict=True) if not is_kept):
                task.cancel()
    assert len(kept) == 400
    assert all(is_whole(task.result(), question) for question, task in kept)
    assert len(made) <= 40 * 10, "one call per question and wave at most"
    await turns_of_the_loop(20)
    assert len(flights) == 0
