"""Settings of what answers: turns, batches of them, the bus between the agents, and who is told of their end."""

from __future__ import annotations

from typing import Annotated

from ngx_agents.app.setting import Section, setting


class TurnsConfig(Section, frozen=True, kw_only=True):
    """Bounds of the turn engine."""

    max_running: Annotated[int, setting("Turns that run at once in this process.", bounds=(1, 100_000))] = 256
    max_waiting_per_conversation: Annotated[
        int, setting("Turns that may wait behind the running one of a conversation.", bounds=(0, 10_000))
    ] = 100
    history_tokens: Annotated[int, setting("Most tokens of earlier messages in a prompt.", bounds=(0, 1_000_000))] = (
        4000
    )
    held_events: Annotated[
        int, setting("Events of a turn kept in memory for clients that reconnect.", bounds=(16, 100_000))
    ] = 2000

    unwatched_s: Annotated[
        float,
        setting("From mode degraded 2: interactive turns that nobody watches for so long are stopped.", bounds=(1, 59)),
    ] = 20.0
    max_schedules: Annotated[
        int, setting("Messages that a user may have sent by themselves at set times.", bounds=(0, 10_000))
    ] = 20


class BatchesConfig(Section, frozen=True, kw_only=True):
    """Many messages handed in at once, answered with what is left over."""

    places_share: Annotated[
        float, setting("Most of `turns.max_running` that batches may take.", bounds=(0.01, 1.0))
    ] = 0.9
    max_open: Annotated[int, setting("Batches of a user that have not ended.", bounds=(1, 1_000))] = 10
    max_body_bytes: Annotated[
        int, setting("Largest batch that is taken in as JSON lines.", bounds=(1024, 1_073_741_824))
    ] = 67_108_864
    kept_days: Annotated[
        float, setting("How long an ended batch, its results and their conversations are kept.", bounds=(1, 36_500))
    ] = 30.0


class BusConfig(Section, frozen=True, kw_only=True):
    """The bus by which the agents of the team ask one another."""

    consults: Annotated[
        bool, setting("Specialists' models may ask one another: up to three questions an answer, one deep.")
    ] = False
    message_queue_size: Annotated[
        int, setting("Messages that may wait for each agent, exact.", bounds=(1, 1_000_000))
    ] = 1000
    worker_threads: Annotated[
        int,
        setting("Messages of each agent worked on at once; 0: as many as turns may run.", bounds=(0, 100_000)),
    ] = 0
    max_pending_requests: Annotated[
        int,
        setting("Unfinished messages over all agents; 0: eight for each turn that may run.", bounds=(0, 1_000_000)),
    ] = 0
    message_timeout_s: Annotated[
        float, setting("Longest wait for a worker; shortened under standing load.", bounds=(0.1, 3_600))
    ] = 5.0
    circuit_breaker_threshold: Annotated[
        int, setting("Calls within 30 s from which on half failed opens an agent's breaker.", bounds=(1, 100_000))
    ] = 20
    circuit_breaker_reset_timeout_s: Annotated[
        float, setting("How long an agent's breaker lets nothing pass.", bounds=(0.1, 3_600))
    ] = 60.0


class BudgetsConfig(Section, frozen=True, kw_only=True):
    """What calls of the model may cost; the budgets themselves are set with `ngx budgets`."""

    cheaper_model: Annotated[
        str | None, setting("Model asked beyond a budget that degrades, and for the flag cheaper-model.")
    ] = None
    house: Annotated[bool, setting("Keep the team's own monthly budget of each agent.")] = True
    reserved_output_tokens: Annotated[
        int, setting("What a call of the model is expected to write at most.", bounds=(16, 1_000_000))
    ] = 4096


class OutboxConfig(Section, frozen=True, kw_only=True):
    """What is posted to addresses of others: webhooks."""

    allow: Annotated[
        tuple[str, ...],
        setting("Networks (10.0.0.0/8) and host names that may be posted to although they are not public."),
    ] = ()
    https_only: Annotated[bool, setting("Refuse webhooks without TLS.")] = False
    timeout_s: Annotated[float, setting("How long one request may take.", bounds=(0.1, 30))] = 15.0
    attempts: Annotated[int, setting("Attempts, spread over half an hour, until it is given up.", bounds=(1, 100))] = 10
    dead_kept_days: Annotated[
        float, setting("How long what was given up is kept for `ngx outbox replay`.", bounds=(0.01, 36_500))
    ] = 30.0
    max_webhooks: Annotated[int, setting("Standing webhooks that a user may have.", bounds=(0, 1_000))] = 10
