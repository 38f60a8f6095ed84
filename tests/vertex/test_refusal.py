from __future__ import annotations

import itertools
import json
from email.utils import formatdate

import msgspec
import pytest

from ngx_agents.errors import (
    ModelAuthError,
    ModelError,
    ModelNotFound,
    ModelProtocolError,
    ModelRequestError,
    ModelThrottled,
    ModelUnavailable,
)
from ngx_agents.vertex.dialects.error_wire import ErrorBody
from ngx_agents.vertex.refusal import BY_STATUS, BY_WORD, error_in_stream, error_of_status

SECRET = "the user's own words and AIza-key"
NOW_S = 1_800_000_000.0


def refused(status: int, body: object = None, *, retry_after: str | None = None) -> ModelError:
    encoded = body if isinstance(body, bytes) else json.dumps(body or {"error": {"message": SECRET}}).encode()
    return error_of_status(status, encoded, retry_after=retry_after, now_s=NOW_S)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (302, ModelProtocolError),
        (400, ModelRequestError),
        (401, ModelAuthError),
        (403, ModelAuthError),
        (404, ModelNotFound),
        (408, ModelUnavailable),
        (409, ModelRequestError),
        (413, ModelRequestError),
        (422, ModelRequestError),
        (429, ModelThrottled),
        (499, ModelUnavailable),
        (500, ModelUnavailable),
        (502, ModelUnavailable),
        (503, ModelUnavailable),
        (504, ModelUnavailable),
        (529, ModelUnavailable),
    ],
)
def test_status_decides_the_error(status: int, kind: type[ModelError]) -> None:
    error = refused(status)
    assert type(error) is kind
    assert error.status == status


def test_every_status_has_an_error_and_foreign_text_stays_out() -> None:
    bodies = ({"error": {"code": 1, "message": SECRET, "status": SECRET}}, SECRET.encode(), b"")
    for status, body in itertools.product(range(300, 600), bodies):
        error = refused(status, body)
        assert isinstance(error, ModelError)
        assert "words" not in str(error)
        assert "AIza" not in str(error)


@pytest.mark.parametrize("word", BY_WORD)
def test_every_word_maps_to_a_status_of_the_table(word: str) -> None:
    assert type(error_in_stream(ErrorBody(status=word))) is BY_STATUS[BY_WORD[word]][0]
    assert type(error_in_stream(ErrorBody(type=word))) is BY_STATUS[BY_WORD[word]][0]


def test_error_in_stream_goes_by_its_number_first() -> None:
    assert type(error_in_stream(ErrorBody(code=429, status="INTERNAL"))) is ModelThrottled


def test_error_in_stream_of_unknown_words_is_unavailable() -> None:
    assert type(error_in_stream(ErrorBody(code="odd", type="odder"))) is ModelUnavailable


@pytest.mark.parametrize("page", [b"<!DOCTYPE html><p>404", b"\n <html>"])
def test_web_page_means_a_wrong_endpoint(page: bytes) -> None:
    error = refused(404, page)
    assert isinstance(error, ModelProtocolError)
    assert error.status == 404


@pytest.mark.parametrize(("status", "kind"), [(502, ModelUnavailable), (429, ModelThrottled), (403, ModelAuthError)])
def test_web_page_of_a_proxy_keeps_the_meaning_of_its_status(status: int, kind: type[ModelError]) -> None:
    assert type(refused(status, b"<html>")) is kind


def test_retry_after_is_honoured_in_seconds_as_date_and_as_detail() -> None:
    assert refused(429).retry_after_s is None
    assert refused(429, retry_after="7").retry_after_s == 7.0
    assert refused(503, retry_after="-3").retry_after_s == 0.0
    assert refused(429, retry_after=formatdate(NOW_S + 90, usegmt=True)).retry_after_s == 90.0
    assert refused(429, retry_after="soon").retry_after_s is None
    detail = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "12.5s"}
    assert refused(429, {"error": {"code": 429, "details": [{"reason": "x"}, detail]}}).retry_after_s == 12.5


@pytest.mark.parametrize("told", ["nan", "inf", "-inf", "1e999", "Thu, 01 Jan 99999 00:00:00 GMT"])
def test_a_wait_without_end_is_no_wait_told(told: str) -> None:
    assert refused(429, retry_after=told).retry_after_s is None
    detail = {"retryDelay": f"{told}s"}
    assert refused(429, {"error": {"code": 429, "details": [detail]}}).retry_after_s is None


def test_invalid_key_is_an_auth_error_though_it_comes_as_400() -> None:
    assert type(refused(400, {"error": {"code": 400, "details": [{"reason": "API_KEY_INVALID"}]}})) is ModelAuthError


def test_list_of_errors_is_read_too() -> None:
    detail = {"retryDelay": "3s"}
    assert refused(429, [{"error": {"code": 429, "details": [detail]}}]).retry_after_s == 3.0


SHARED = (
    "Resource exhausted. Please try again later. Please refer to "
    "https://cloud.google.com/vertex-ai/generative-ai/docs/error-code-429 for more details."
)
QUOTA = (
    "Quota exceeded for aiplatform.googleapis.com/online_prediction_requests_per_base_model with base model: "
    "gemini-3.8-flash. Please submit a quota increase request. https://cloud.google.com/vertex-ai/docs/quotas-genai."
)


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        (SHARED, "shared"),
        ("Too many requests. Exceeded the Provisioned Throughput.", "provisioned"),
        (QUOTA, "quota"),
        (QUOTA.upper(), "quota"),
        ("something nobody has seen yet", "shared"),
        ("", "shared"),
        (None, "shared"),
        (17, "shared"),
        ({"odd": [1, "é"]}, "shared"),
    ],
)
def test_what_is_used_up_is_read_from_the_message_of_a_429(message: object, kind: str) -> None:
    error = refused(429, {"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": message}})
    assert isinstance(error, ModelThrottled)
    assert error.kind == kind


def test_a_429_without_a_readable_body_is_of_the_shared_pool() -> None:
    for body in (b"", b"<html>", b"{", b"[]"):
        error = refused(429, body)
        assert isinstance(error, ModelThrottled)
        assert error.kind == "shared"


def test_a_429_within_a_stream_has_its_kind_too() -> None:
    reply = msgspec.json.decode(json.dumps({"code": 429, "message": QUOTA}), type=ErrorBody)
    error = error_in_stream(reply)
    assert isinstance(error, ModelThrottled)
    assert error.kind == "quota"
