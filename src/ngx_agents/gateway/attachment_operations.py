"""The calls about attachments, as the table of all calls has them."""

from __future__ import annotations

from ngx_agents.gateway.attachments import AttachmentRoutes
from ngx_agents.gateway.operation import CURSOR, LIMIT, Operation, Parameter, operation_of
from ngx_agents.gateway.wire import AttachmentPage, AttachmentView
from ngx_agents.state.blobs import MEDIA_TYPES

OF_CONVERSATION = Parameter(
    name="conversation_id",
    place="query",
    schema={"type": "string", "pattern": "^c_[0-9a-f]{2}[0-9A-HJKMNP-TV-Z]{26}$"},
    description="Only for this conversation, and deleted with it.",
)
FILENAME = Parameter(
    name="filename",
    place="query",
    schema={"type": "string", "minLength": 1, "maxLength": 200},
    description="What its owner calls it.",
)


def attachment_operations(routes: AttachmentRoutes) -> list[Operation]:
    types, one = tuple(sorted(MEDIA_TYPES)), "/v1/me/attachments/{attachment_id}"
    return [
        operation_of(
            "POST /v1/me/attachments", routes.upload, summary="Keep an image or a document of at most 5 MB",
            answers={201: (AttachmentView,)}, body_types=types, parameters=(OF_CONVERSATION, FILENAME),
        ),
        operation_of(
            "GET /v1/me/attachments", routes.index, summary="What was attached, newest first",
            answers={200: (AttachmentPage,)}, parameters=(LIMIT, CURSOR),
        ),
        operation_of(f"GET {one}", routes.show, summary="The bytes of one", answers={200: types}),
        operation_of(f"DELETE {one}", routes.delete, summary="Delete one", answers={204: ()}),
    ]  # fmt: skip
