"""The quick look for required fields agrees with the SDK's; the quick calls answer as the dispatcher does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from a2a.types import (
    AuthenticationInfo,
    GetTaskRequest,
    Message,
    Part,
    Role,
    SendMessageRequest,
    TaskPushNotificationConfig,
)
from a2a.utils.errors import InvalidParamsError
from a2a.utils.proto_utils import validate_proto_required_fields
from hypothesis import given
from hypothesis import strategies as st

from ngx_agents.gateway.a2a.required import is_complete
from tests.gateway.a2a.wire import caller, message_of

WORDS = st.sampled_from(["", "x"])
MESSAGES = st.builds(
    Message,
    message_id=WORDS,
    role=st.sampled_from([Role.ROLE_UNSPECIFIED, Role.ROLE_USER]),
    parts=st.lists(st.builds(Part, text=WORDS), max_size=2),
    task_id=WORDS,
)
CONFIGS = st.builds(
    TaskPushNotificationConfig,
    url=WORDS,
    token=WORDS,
    authentication=st.none() | st.builds(AuthenticationInfo, scheme=WORDS, credentials=WORDS),
)


@st.composite
def requests(draw: st.DrawFn) -> SendMessageRequest:
    request = SendMessageRequest(message=draw(st.none() | MESSAGES))
    config = draw(st.none() | CONFIGS)
    if config is not None:
        request.configuration.task_push_notification_config.CopyFrom(config)
    return request


@given(requests() | CONFIGS | MESSAGES | st.builds(GetTaskRequest, id=WORDS))
def test_the_quick_look_agrees_with_the_sdks_check(message: Any) -> None:
    try:
        validate_proto_required_fields(message)
        agrees = True
    except InvalidParamsError:
        agrees = False
    assert is_complete(message) is agrees


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("SendMessage", message_of("reject")),
        ("SendMessage", message_of("hi", parts=[{"text": 7}])),
        ("SendMessage", message_of("hi", taskId="nothing")),
        ("SendMessage", {"message": "x"}),
        ("GetTask", {"id": "nothing"}),
        ("GetTask", {}),
        ("CancelTask", {"id": "nothing", "unknown": [1]}),
    ],
)
async def test_quick_calls_answer_as_the_dispatcher_does(tmp_path: Path, method: str, params: dict[str, Any]) -> None:
    """A call whose id is null is the dispatcher's."""
    async with caller(tmp_path, "jsonrpc") as on:
        answers = []
        for request_id in (7, None):
            body = json.dumps({"jsonrpc": "2.0", "id": request_id, "method": method, "params": params})
            headers = {"Content-Type": "application/json", **on.headers}
            async with on.session.post(f"{on.url}/a2a", data=body, headers=headers) as answer:
                told = json.loads(await answer.read())
                assert told.pop("id") == request_id
                answers.append(told)
        assert _shape(answers[0]) == _shape(answers[1])


def _shape(told: Any) -> Any:
    """Without what differs from call to call: ids and times."""
    if isinstance(told, dict):
        return {
            key: _shape(value) for key, value in told.items()
            if key not in ("id", "taskId", "contextId", "messageId", "timestamp")
        }  # fmt: skip
    return [_shape(each) for each in told] if isinstance(told, list) else told
