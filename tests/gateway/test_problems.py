"""The table from errors to answers."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from ngx_agents import errors
from ngx_agents.errors import NgxError
from ngx_agents.gateway.problems import STATUS, headers_of, problem_of, status_of, status_of_code


def _tree(cls: type[NgxError]) -> Iterator[type[NgxError]]:
    yield cls
    for below in cls.__subclasses__():
        yield from _tree(below)


def test_every_error_class_has_its_row() -> None:
    ours = {cls for cls in _tree(NgxError) if cls.__module__.startswith(f"{errors.__name__}.")}
    assert len(ours) > 30
    assert ours == set(STATUS)


def test_a_class_made_elsewhere_is_answered_like_the_nearest_one_above() -> None:
    class Narrower(errors.Overloaded):
        pass

    assert status_of(Narrower("full")) == 503


def test_every_code_has_a_status_that_is_an_error() -> None:
    for cls in STATUS:
        assert 400 <= status_of_code(cls.code) < 600
    assert status_of_code("never heard of") == 500


def test_retry_after_is_whole_seconds_rounded_up() -> None:
    assert (b"retry-after", b"3") in headers_of(errors.Overloaded("full", retry_after_s=2.1))
    assert (b"retry-after", b"1") in headers_of(errors.Draining("going", retry_after_s=0.0))
    assert headers_of(errors.NotFound("no")) == []


def test_a_problem_names_the_field_and_the_turn_and_omits_what_it_has_not() -> None:
    wrong = msgspec.to_builtins(problem_of(errors.InvalidRequest("no", field="text"), "r-1"))
    assert wrong == {
        "title": "Bad Request",
        "status": 400,
        "code": "invalid_request",
        "detail": "no",
        "request_id": "r-1",
        "field": "text",
    }
    assert problem_of(errors.ConversationBusy("t_1"), "r-1").turn_id == "t_1"


def test_a_refusal_to_authenticate_names_the_scheme_and_a_wrong_method_the_right_ones() -> None:
    assert headers_of(errors.Unauthenticated("no")) == [(b"www-authenticate", b"Bearer")]
    assert headers_of(errors.MethodNotAllowed(("GET", "PUT"))) == [(b"allow", b"GET, PUT")]
