"""The calls about batches, for the table of all calls."""

from __future__ import annotations

from ngx_agents.gateway.batch_wire import BatchBody, BatchPage, BatchResultPage, BatchView
from ngx_agents.gateway.batches import DEFAULT_EXPIRES_S, JSON_LINES, MAX_EXPIRES_S, BatchRoutes
from ngx_agents.gateway.operation import CURSOR, IDEMPOTENCY_KEY, LIMIT, Operation, Parameter, operation_of

EXPIRES_AFTER_S = Parameter(
    name="expires_after_s",
    place="query",
    schema={"type": "integer", "minimum": 60, "maximum": MAX_EXPIRES_S, "default": DEFAULT_EXPIRES_S},
    description="Inputs that were not begun by then are given up.",
)


def batch_operations(routes: BatchRoutes) -> list[Operation]:
    one = "/v1/batches/{batch_id}"
    return [
        operation_of(
            "POST /v1/batches", routes.create,
            summary=f"Hand in up to 10,000 messages: as JSON, or as {JSON_LINES} with one of them a line",
            answers={200: (BatchView,), 201: (BatchView,)}, body=BatchBody,
            parameters=(IDEMPOTENCY_KEY, EXPIRES_AFTER_S),
        ),
        operation_of(
            "GET /v1/batches", routes.index, summary="List the caller's batches, newest first",
            answers={200: (BatchPage,)}, parameters=(LIMIT, CURSOR),
        ),
        operation_of(f"GET {one}", routes.show, summary="How far a batch has come", answers={200: (BatchView,)}),
        operation_of(
            f"GET {one}/results", routes.results,
            summary="What became of each input, in the order of the inputs, also while it goes on",
            answers={200: (BatchResultPage, JSON_LINES)}, parameters=(LIMIT, CURSOR),
        ),
        operation_of(
            f"POST {one}/cancel", routes.cancel, summary="Begin no more of a batch, and stop what runs",
            answers={200: (BatchView,)},
        ),
    ]  # fmt: skip
