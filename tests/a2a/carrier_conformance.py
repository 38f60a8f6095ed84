"""What every carrier does. A test module imports these tests and gives `connect`: a fixture that makes carriers which
reach one another."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable
from contextlib import aclosing, asynccontextmanager

import msgspec
import pytest

from ngx_agents.a2a.carrier import MAX_ATTEMPTS, Carrier, Frame, Parcel, Patience, Room, patience_left_s
from ngx_agents.a2a.message import Budget
from ngx_agents.a2a.pool import Instance
from ngx_agents.a2a.refusals import AgentAbsent, AgentBusy, AgentFailed, AgentSuspended, CallsUnbounded
from ngx_agents.a2a.server import A2AServer
from ngx_agents.a2a.wire import pack, unpack
from ngx_agents.errors import DeadlineExceeded, InvalidRequest, ModelThrottled, NgxError, TurnCancelled
from tests.a2a.teams import Gate, echo, failing, quiet, soon, until

Connect = Callable[[], Carrier]
_names = itertools.count()


def fresh(name: str = "agent") -> str:
    return f"{name}-{next(_names)}-{time.time_ns()}"


class Recorder:
    """A receiver that writes down what comes."""

    def __init__(self) -> None:
        self.deliveries, self.frames, self.cancels = [], [], []

    def deliver(self, delivery) -> None:
        self.deliveries.append(delivery)

    def replied(self, frame) -> None:
        self.frames.append(frame)

    def cancelled(self, parcel_id) -> None:
        self.cancels.append(parcel_id)


@asynccontextmanager
async def ends(connect: Connect, count: int = 2, capacity: int = 100):
    """(carrier, recorder) pairs, opened, and closed afterwards."""
    pairs = [(connect(), Recorder()) for _ in range(count)]
    try:
        for carrier, recorder in pairs:
            await carrier.open(recorder, capacity=capacity)
        yield pairs
    finally:
        for carrier, _ in pairs:
            await carrier.close()


@asynccontextmanager
async def servers(connect: Connect, count: int = 2, **options):
    opened = [A2AServer(carrier=connect(), **options) for _ in range(count)]
    try:
        for one in opened:
            await one.start()
        yield opened
    finally:
        for one in opened:
            await one.stop(drain_s=0.0)


def parcel(agent: str, content: object = "hello", turn_class: int = 1, **options) -> Parcel:
    return Parcel(
        id=fresh("m"), agent=agent, turn_class=turn_class, depth=1, remaining_s=10.0, payload=pack(content), **options
    )  # fmt: skip


def last(delivery, content: object = "done") -> Frame:
    return Frame(id=delivery.parcel.id, kind="done", attempt=delivery.attempt, seq=0, payload=pack(content))


def contents(recorder: Recorder) -> list[object]:
    return [unpack(delivery.parcel.payload) for delivery in recorder.deliveries]


async def test_a_parcel_is_delivered_once_and_its_reply_comes_back(connect):
    async with ends(connect) as [(asker, asking), (server, serving)]:
        agent = fresh()
        await server.serve(agent, Room(lambda: 10))
        await asker.post(parcel(agent, {"text": "hello"}))
        await until(lambda: serving.deliveries)
        [delivery] = serving.deliveries
        assert (unpack(delivery.parcel.payload), delivery.attempt) == ({"text": "hello"}, 1)
        assert 0 <= delivery.age_s < 5
        await server.reply(delivery, last(delivery))
        await until(lambda: asking.frames)
        assert [unpack(frame.payload) for frame in asking.frames] == ["done"]
        await asyncio.sleep(0.05)
        assert len(serving.deliveries) == 1


async def test_several_servers_share_the_parcels(connect):
    async with ends(connect, 3) as [(asker, _), (one, at_one), (other, at_other)]:
        agent = fresh()
        await one.serve(agent, Room(lambda: 5 - len(at_one.deliveries)))
        await other.serve(agent, Room(lambda: 1000))
        for number in range(40):
            await asker.post(parcel(agent, number))
        await until(lambda: len(at_one.deliveries) + len(at_other.deliveries) == 40)
        assert sorted(contents(at_one) + contents(at_other)) == list(range(40))


async def test_nothing_is_taken_without_room_and_then_the_most_urgent_first(connect):
    async with ends(connect) as [(asker, _), (server, serving)]:
        agent, is_open = fresh(), []
        room = Room(lambda: len(is_open))
        await server.serve(agent, room)
        for turn_class in (3, 2, 1, 0):
            await asker.post(parcel(agent, turn_class, turn_class))
        await asyncio.sleep(0.05)
        assert serving.deliveries == []
        is_open.append(True)
        room.changed.set()
        await until(lambda: len(serving.deliveries) == 4)
        assert contents(serving) == [0, 1, 2, 3]


async def test_the_capacity_is_exact_and_is_freed_by_replies(connect):
    async with ends(connect, capacity=3) as [(asker, _), (server, serving)]:
        agent = fresh()
        await server.serve(agent, Room(lambda: 10))
        for turn_class in (1, 2, 3):
            await asker.post(parcel(agent, 1, turn_class))
        with pytest.raises(AgentBusy) as refused:
            await asker.post(parcel(agent, 1, 3))
        assert refused.value.retry_after_s > 0
        await until(lambda: len(serving.deliveries) == 3)
        await server.reply(serving.deliveries[0], last(serving.deliveries[0]))
        await asker.post(parcel(agent))


async def test_a_full_queue_gives_up_the_newest_of_the_least_urgent_and_tells_its_caller(connect):
    async with ends(connect, 3, capacity=4) as [(asker, asking), (other, at_other), (server, serving)]:
        agent = fresh()
        await server.serve(agent, room := Room(lambda: 0))
        kept, gone, last_one = (parcel(agent, content, 3) for content in ("kept", "gone", "refused"))
        for each in (kept, parcel(agent, "two", 2), parcel(agent, "critical", 0)):
            await asker.post(each)
        await other.post(gone)
        await asker.post(parcel(agent, "urgent", 1))
        await until(lambda: at_other.frames)
        assert [(frame.id, frame.kind, frame.fault.name) for frame in at_other.frames] == [
            (gone.id, "error", "AgentBusy")
        ]
        assert at_other.frames[0].fault.fields["reason"] == "displaced"
        with pytest.raises(AgentBusy):
            await asker.post(last_one)
        for number in range(2):  # the last of class 3, then that of class 2
            await asker.post(parcel(agent, number, 0))
        await asker.post(parcel(agent, 2, 0))
        with pytest.raises(AgentBusy):
            await asker.post(parcel(agent, "one critical too many", 0))
        await until(lambda: len(asking.frames) == 3)
        room.count = lambda: 10
        room.changed.set()
        await until(lambda: len(serving.deliveries) == 4)
        assert contents(serving) == ["critical", 0, 1, 2]


async def test_what_is_worked_on_is_not_given_up_for_what_is_more_urgent(connect):
    async with ends(connect, capacity=2) as [(asker, _), (server, serving)]:
        agent = fresh()
        await server.serve(agent, Room(lambda: 10))
        for number in range(2):
            await asker.post(parcel(agent, number, 3))
        await until(lambda: len(serving.deliveries) == 2)
        with pytest.raises(AgentBusy):
            await asker.post(parcel(agent, "critical", 0))


def test_a_parcel_may_wait_as_long_as_in_a_mailbox():
    def left_s(waited_s: float, standing_s: float) -> float:
        return round(patience_left_s(Patience(waited_s=waited_s, max_wait_s=5.0), standing_s=standing_s), 6)

    assert left_s(0.5, 0.5) == 4.5
    assert left_s(0.5, 3.0) == 2.0  # the load may stand by then
    assert left_s(0.2, 60.0) == 0.3
    assert left_s(0.5, 5.0) == 0.0
    assert left_s(5.0, 0.0) == 0.0


async def test_whom_nobody_serves_is_told_at_once(connect):
    async with ends(connect) as [(asker, _), _]:
        with pytest.raises(AgentAbsent):
            await asker.post(parcel(fresh()))


async def test_pieces_come_in_order_before_the_last_frame(connect):
    async with ends(connect) as [(asker, asking), (server, serving)]:
        agent = fresh()
        await server.serve(agent, Room(lambda: 10))
        await asker.post(parcel(agent, wants_pieces=True))
        await until(lambda: serving.deliveries)
        [delivery] = serving.deliveries
        for seq in range(20):
            piece = Frame(id=delivery.parcel.id, kind="piece", attempt=1, seq=seq, payload=pack(seq))
            await server.reply(delivery, piece)
        await server.reply(delivery, last(delivery))
        await until(lambda: len(asking.frames) == 21)
        assert [frame.seq for frame in asking.frames[:20]] == list(range(20))
        assert asking.frames[-1].kind == "done"


async def test_a_cancel_withdraws_what_waits_and_reaches_who_holds_it(connect):
    async with ends(connect) as [(asker, _), (server, serving)]:
        agent = fresh()
        room = Room(lambda: 1 - len(serving.deliveries))
        await server.serve(agent, room)
        held, waits, after = (parcel(agent, content) for content in ("held", "waits", "after"))
        await asker.post(held)
        await until(lambda: serving.deliveries)
        await asker.post(waits)
        await asker.post(after)
        assert await asker.cancel(held.id, patience=Patience(waited_s=9.0, max_wait_s=5.0)) > 0.0
        assert 3.9 < await asker.cancel(waits.id, patience=Patience(waited_s=1.0, max_wait_s=5.0)) <= 4.0
        assert await asker.cancel(held.id) > 0.0
        assert await asker.cancel(waits.id, patience=Patience(waited_s=5.1, max_wait_s=5.0)) == 0.0
        assert await asker.cancel("never heard of") > 0.0
        await until(lambda: serving.cancels == [held.id])
        room.count = lambda: 10
        room.changed.set()
        await until(lambda: len(serving.deliveries) == 2)
        assert contents(serving) == ["held", "after"]


async def test_a_mute_end_is_acknowledged_and_not_told(connect):
    async with ends(connect, capacity=1) as [(asker, asking), (server, serving)]:
        agent = fresh()
        await server.serve(agent, Room(lambda: 10))
        await asker.post(parcel(agent))
        await until(lambda: serving.deliveries)
        mute = msgspec.structs.replace(serving.deliveries[0], is_mute=True)
        await server.reply(mute, last(mute))
        await asker.post(parcel(agent))
        assert asking.frames == []


async def test_what_a_closing_server_holds_goes_to_another_and_a_few_times_only(connect):
    async with ends(connect) as [(asker, asking), _]:
        agent = fresh()
        for attempt in range(1, MAX_ATTEMPTS + 2):
            async with ends(connect, 1) as [(server, serving)]:
                await server.serve(agent, Room(lambda: 10))
                if attempt == 1:
                    await asker.post(parcel(agent))
                if attempt <= MAX_ATTEMPTS:
                    await until(lambda serving=serving: serving.deliveries)
                    assert serving.deliveries[0].attempt == attempt
                else:
                    await until(lambda: asking.frames)
                    assert asking.frames[0].fault.name == "AgentFailed"
                    assert serving.deliveries == []


async def test_a_server_elsewhere_answers_and_its_errors_keep_their_kinds(connect):
    async with servers(connect) as [here, there]:
        agent, bad = fresh(), fresh("bad")

        async def throttled(message):
            raise ModelThrottled("later", retry_after_s=7.0)

        there.register(agent, echo)
        there.register(bad, failing)
        there.register("throttled" + agent, throttled)
        await until_served(here, agent, bad, "throttled" + agent)
        assert await here.request(agent, {"kcal": [1, 2.5, None, "ñ"]}) == {"kcal": [1, 2.5, None, "ñ"]}
        assert await here.request(agent, b"bytes") == b"bytes"
        with pytest.raises(AgentFailed, match=r"^the agent .* failed$"):
            await here.request(bad, 1)
        with pytest.raises(ModelThrottled) as told:
            await here.request("throttled" + agent, 1)
        assert told.value.retry_after_s == 7.0
        with pytest.raises(InvalidRequest):
            await here.request(agent, object())
        with pytest.raises(InvalidRequest):
            await here.request(agent, b"x" * 2**21)
        await until(lambda: quiet(here) and quiet(there))


class Meal(msgspec.Struct):
    kcal: int


async def test_a_payload_is_decoded_as_the_agent_accepts_it(connect):
    async with servers(connect) as [here, there]:
        agent = fresh()

        async def double(message):
            return Meal(message.payload.kcal * 2)

        there.register(agent, double, accepts=Meal)
        await until_served(here, agent, probe=Meal(1))
        assert msgspec.convert(await here.request(agent, Meal(4)), Meal) == Meal(8)
        with pytest.raises(InvalidRequest):
            await here.request(agent, {"kcal": "many"})


async def test_deadline_class_depth_and_budget_travel_and_what_was_spent_comes_back(connect):
    async with servers(connect) as [here, there]:
        agent = fresh()

        async def look(message):
            context = message.context
            context.spend(tokens=30, cost_usd=0.25)
            left_s = message.deadline_s - time.monotonic()
            return [left_s, message.turn_class, message.depth, context.tokens_left, context.calls_left]

        there.register(agent, look)
        await until_served(here, agent)
        root = here.context(deadline_s=soon(7), turn_class=2, budget=Budget(tokens=100, cost_usd=1.0, calls=9))
        left_s, *rest = await root.request(agent, 1)
        assert 5 < left_s <= 7
        assert rest == [2, 1, 70, 8]
        assert (root.tokens_left, root.cost_usd_left, root.calls_left) == (70, 0.75, 8)


async def test_a_loop_over_two_processes_ends_in_a_typed_error(connect):
    async with servers(connect) as [here, there]:
        ping, pong = fresh("ping"), fresh("pong")

        def to(agent):
            async def relay(message):
                return await message.context.request(agent, 1)

            return relay

        here.register(ping, to(pong))
        there.register(pong, to(ping))
        await until_served(here, pong, error=CallsUnbounded)
        with pytest.raises(CallsUnbounded):
            await here.request(ping, 1)


async def test_a_cancel_reaches_a_leaf_three_processes_away_within_a_second(connect):
    async with servers(connect, 3) as [one, two, three]:
        middle, leaf, gate = fresh("middle"), fresh("leaf"), Gate()

        async def ask_leaf(message):
            if message.payload == "probe":
                return None
            return await message.context.request(leaf, message.payload)

        async def gated(message):
            return None if message.payload == "probe" else await gate(message)

        two.register(middle, ask_leaf)
        three.register(leaf, gated)
        await until_served(one, middle)
        await until_served(two, leaf)
        async with asyncio.TaskGroup() as group:
            asked = group.create_task(one.request(middle, "work", deadline_s=soon()))
            await until(lambda: gate.entered)
            asked.cancel()
            began_s = time.monotonic()
            await until(lambda: gate.cancelled)
            assert time.monotonic() - began_s < 1.0
        await until(lambda: quiet(one) and quiet(two) and quiet(three))


async def test_a_deadline_is_told_by_the_caller_and_ends_the_work_elsewhere(connect):
    async with servers(connect) as [here, there]:
        agent, gate = fresh(), Gate()

        async def gated(message):
            return None if message.payload == "probe" else await gate(message)

        there.register(agent, gated)
        await until_served(here, agent)
        with pytest.raises(DeadlineExceeded):
            await here.request(agent, "slow", deadline_s=soon(0.1))
        await until(lambda: gate.cancelled == ["slow"] and quiet(here) and quiet(there))


async def test_streams_come_piece_by_piece_from_elsewhere_and_end_with_their_reader(connect):
    async with servers(connect) as [here, there]:
        counts, endless, ended = fresh("counts"), fresh("endless"), []

        async def count(message):
            for number in range(message.payload):
                yield number

        async def no_end(message):
            try:
                while message.payload != "probe":
                    yield "more"
                    await asyncio.sleep(0.001)
            finally:
                ended.append(message.payload)

        there.register(counts, count)
        there.register(endless, no_end)
        await until_served(here, counts, probe=1)
        await until_served(here, endless)
        assert [piece async for piece in here.stream(counts, 100)] == list(range(100))
        assert await here.request(counts, 3) == [0, 1, 2]
        async with aclosing(here.stream(endless, "go")) as pieces:
            assert await anext(pieces) == "more"
        await until(lambda: "go" in ended and quiet(here) and quiet(there))


async def test_one_way_arrives_and_a_full_pending_refuses(connect):
    async with servers(connect, max_pending_requests=2) as [here, there]:
        agent, gate = fresh(), Gate()

        async def gated(message):
            return None if message.payload == "probe" else await gate(message)

        there.register(agent, gated)
        await until_served(here, agent)
        await here.send(agent, "one way")
        await until(lambda: gate.entered == ["one way"])
        assert here.pending == 0
        async with asyncio.TaskGroup() as group:
            asked = [group.create_task(here.request(agent, number)) for number in range(2)]
            await until(lambda: here.pending == 2)
            with pytest.raises(AgentBusy) as refused:
                await here.request(agent, 3)
            assert refused.value.reason == "pending"
            gate.open()
        assert [task.result() for task in asked] == [0, 1]


async def test_an_agent_elsewhere_that_fails_opens_its_breaker_here(connect):
    async with servers(connect, circuit_breaker_threshold=3) as [here, there]:
        agent = fresh()

        async def bad(message):
            if message.payload != "probe":
                raise RuntimeError

        there.register(agent, bad)
        await until_served(here, agent)
        for _ in range(6):
            with pytest.raises((AgentFailed, AgentSuspended)):
                await here.request(agent, 1)
        with pytest.raises(AgentSuspended):
            await here.request(agent, 1)
        assert quiet(here)


async def test_a_full_mailbox_here_sends_the_message_to_where_there_is_room(connect):
    async with servers(connect, worker_threads=1, message_queue_size=1) as [here, there]:
        agent, gate = fresh(), Gate()

        async def answer_there(message):
            return "there"

        here.register(agent, gate)
        there.register(agent, answer_there)
        async with asyncio.TaskGroup() as group:
            asked = [group.create_task(here.request(agent, number)) for number in range(2)]
            await until(lambda: here.agent(agent).waiting == 1)
            replies = [asked_again(here, agent) for _ in range(3)]
            assert [await reply for reply in replies] == ["there"] * 3
            gate.open()
        assert [task.result() for task in asked] == [0, 1]


async def test_a_server_that_stops_hands_its_work_to_another(connect):
    async with servers(connect) as [here, there]:
        agent, gate = fresh(), Gate()
        leaving = A2AServer(carrier=connect())
        leaving.register(agent, gate)
        await leaving.start()
        async with asyncio.TaskGroup() as group:
            asked = group.create_task(here.request(agent, "work", deadline_s=soon()))
            await until(lambda: gate.entered)
            there.register(agent, echo)
            await leaving.stop(drain_s=0.0)
        assert asked.result() == "work"
        assert gate.cancelled == ["work"]


async def test_a_message_that_nobody_takes_in_time_is_withdrawn_and_its_caller_told(connect):
    async with servers(connect, worker_threads=1, message_timeout=0.1) as [here, there]:
        agent, gate = fresh(), Gate()

        async def gated(message):
            return None if message.payload == "probe" else await gate(message)

        there.register(agent, gated)
        await until_served(here, agent)
        async with asyncio.TaskGroup() as group:
            asked = [
                group.create_task(_error_of(here.request(agent, number, deadline_s=soon()))) for number in range(8)
            ]
            await until(lambda: sum(task.done() for task in asked) == 7)
            told = [task.result() for task in asked if task.done()]
            assert {error.reason for error in told} == {"waited"}
            gate.open()
        assert len(gate.entered) == 1
        await until(lambda: quiet(here) and quiet(there))


async def test_the_same_message_from_two_callers_is_worked_on_once_and_both_are_answered(connect):
    async with servers(connect, 3) as [one, two, there]:
        agent, gate = fresh(), Gate()

        async def gated(message):
            return None if message.payload == "probe" else await gate(message)

        there.register(agent, gated)
        await until_served(one, agent)
        async with asyncio.TaskGroup() as group:
            asked = [group.create_task(each.request(agent, "work", message_id="m1")) for each in (one, two)]
            await until(lambda: gate.entered)
            await asyncio.sleep(0.05)
            gate.open()
        assert [task.result() for task in asked] == ["work", "work"]
        late = A2AServer(carrier=connect())
        async with late:
            assert await late.request(agent, "work", message_id="m1") == "work"
        assert gate.entered == ["work"]
        await until(lambda: quiet(there))


async def test_leaving_tells_those_who_wait_for_others(connect):
    async with servers(connect) as [here, there]:
        agent, gate = fresh(), Gate()

        async def gated(message):
            return None if message.payload == "probe" else await gate(message)

        there.register(agent, gated)
        await until_served(here, agent)
        async with asyncio.TaskGroup() as group:
            asked = group.create_task(_error_of(here.request(agent, 1)))
            await until(lambda: gate.entered)
            await here.stop(drain_s=0.0)
        assert isinstance(asked.result(), TurnCancelled)


async def test_instances_elsewhere_are_asked_when_the_near_ones_have_no_room(connect):
    async with servers(connect) as [here, there]:
        far, gate = fresh("far"), Gate()
        there.register(far, echo)
        await until_served(here, far)

        async def over_there(message):
            return await message.context.request(far, ["far", message.payload])

        here.register("near", gate, instances=[Instance("over there", over_there, distance=1)])
        here.agent("near").pool.instances[0].capacity = 1
        async with asyncio.TaskGroup() as group:
            near = group.create_task(here.request("near", 1))
            await until(lambda: gate.entered)
            assert await here.request("near", 2) == ["far", 2]
            gate.open()
        assert near.result() == 1


async def until_served(server: A2AServer, *agents: str, probe: object = "probe", error: type | None = None) -> None:
    """A server that registers while it runs is known to others a moment later."""
    async with asyncio.timeout(10):
        for agent in agents:
            while isinstance(told := await _error_of(server.request(agent, probe)), AgentAbsent):  # noqa: ASYNC110
                await asyncio.sleep(0.005)
            assert error is None or isinstance(told, error)


async def asked_again(server: A2AServer, agent: str) -> object:
    while isinstance(told := await _error_of(server.request(agent, 1)), AgentBusy):  # noqa: ASYNC110
        await asyncio.sleep(0.005)
    assert not isinstance(told, Exception), told
    return told


async def _error_of(asking):
    try:
        return await asking
    except NgxError as error:
        return error
