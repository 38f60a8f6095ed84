"""The table of the admin calls: each is for operators alone, which `admin_operation` sees to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ngx_agents.gateway.admin.controls import ControlRoutes
from ngx_agents.gateway.admin.keys import KeyBody, KeyList, KeyRoutes, NewKey, RotateBody
from ngx_agents.gateway.admin.mode import ModeBody, ModeRoutes, ModeView
from ngx_agents.gateway.admin.revocations import RevocationList, RevocationRoutes, RevocationView, RevokeBody
from ngx_agents.gateway.admin.routes import AdminRoutes
from ngx_agents.gateway.admin.wire import AuditPage, ControlList, ControlView, MeterList, Status
from ngx_agents.gateway.deps import GatewayDeps
from ngx_agents.gateway.operation import CURSOR, LIMIT, Operation, Parameter, operation_of
from ngx_agents.gateway.principal import OPERATOR
from ngx_agents.gateway.settings import AuthSettings
from ngx_agents.state.controls import DOCUMENTS
from ngx_agents.state.governance import ControlKind

TARGET = Parameter(
    name="target", place="query", schema={"type": "string"}, description="Only entries about this, such as `flag/a`."
)

PREFIX = Parameter(
    name="prefix", place="query", schema={"type": "string"}, description="Only names that begin so, such as `month/`."
)


def admin_operation(
    call: str, handler: Any, *, summary: str, answers: Mapping[int, tuple[Any, ...]], **more: Any
) -> Operation:
    """`call` is method and path as one reads it; the path begins with /v1/admin/."""
    return operation_of(call, handler, summary=summary, answers=answers, role=OPERATOR, **more)


def admin_operations(deps: GatewayDeps, auth: AuthSettings) -> list[Operation]:
    routes = AdminRoutes(deps)
    return [
        admin_operation(
            "GET /v1/admin/status", routes.status, summary="How the server stands", answers={200: (Status,)}
        ),
        admin_operation(
            "GET /v1/admin/audit", routes.audit, summary="Who changed what, newest first",
            answers={200: (AuditPage,)}, parameters=(TARGET, LIMIT, CURSOR),
        ),
        admin_operation(
            "GET /v1/admin/meters", routes.meters, summary="What was spent of the budgets",
            answers={200: (MeterList,)}, parameters=(PREFIX, LIMIT),
        ),
        *_modes(ModeRoutes(deps)),
        *_controls(ControlRoutes(deps)),
        *_keys(KeyRoutes(deps)),
        *_revocations(RevocationRoutes(deps, auth)),
    ]  # fmt: skip


def _modes(routes: ModeRoutes) -> list[Operation]:
    path, answers = "/v1/admin/mode", {200: (ModeView,)}
    return [
        admin_operation(f"GET {path}", routes.show, summary="The mode, why, and what it was", answers=answers),
        admin_operation(f"PUT {path}", routes.set, summary="Set the mode", answers=answers, body=ModeBody),
        admin_operation(f"DELETE {path}", routes.take_back, summary="Leave it to the signals", answers=answers),
    ]


_ELSEWHERE = ("mode", "revocation")
_PATHS: dict[ControlKind, str] = {kind: f"/v1/admin/{kind}s/{{{kind}}}" for kind in DOCUMENTS if kind not in _ELSEWHERE}
_PATHS["account"] = "/v1/admin/accounts/{tenant}/{user}"


def _controls(routes: ControlRoutes) -> list[Operation]:
    made = []
    for kind, path in _PATHS.items():
        made += [
            admin_operation(
                f"GET /v1/admin/{kind}s", routes.handler("list", kind), summary=f"All {kind}s, by name",
                answers={200: (ControlList,)},
            ),
            admin_operation(
                f"PUT {path}", routes.handler("put", kind), summary=f"Make or replace a {kind}",
                answers={200: (ControlView,)}, body=DOCUMENTS[kind],
            ),
            admin_operation(
                f"DELETE {path}", routes.handler("remove", kind), summary=f"Remove a {kind}", answers={204: ()},
            ),
        ]  # fmt: skip
    return made


def _keys(routes: KeyRoutes) -> list[Operation]:
    one = "/v1/admin/keys/{key_id}"
    return [
        admin_operation(
            "GET /v1/admin/keys", routes.list_keys, summary="All API keys, without their secrets",
            answers={200: (KeyList,)},
        ),
        admin_operation(
            "POST /v1/admin/keys", routes.create_key, summary="Make a key; its secret is shown once",
            answers={201: (NewKey,)}, body=KeyBody,
        ),
        admin_operation(
            f"POST {one}/rotate", routes.rotate_key, summary="A new key in the place of one that holds on for a while",
            answers={201: (NewKey,)}, body=RotateBody,
        ),
        admin_operation(f"DELETE {one}", routes.revoke_key, summary="Revoke a key", answers={204: ()}),
    ]  # fmt: skip


def _revocations(routes: RevocationRoutes) -> list[Operation]:
    path = "/v1/admin/revocations"
    return [
        admin_operation(
            f"GET {path}", routes.list_revocations, summary="Tokens that were taken back and have not all expired",
            answers={200: (RevocationList,)},
        ),
        admin_operation(
            f"POST {path}", routes.revoke, summary="Take back a token, or all that a user was given before",
            answers={201: (RevocationView,)}, body=RevokeBody,
        ),
        operation_of(
            "POST /v1/me/sessions/revoke", routes.sign_out, summary="Sign out everywhere: every token so far",
            answers={200: (RevocationView,)},
        ),
    ]  # fmt: skip
