"""From bytes to typed values, or a refusal that names the field."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ngx_agents.errors import InvalidRequest, NotFound
from ngx_agents.gateway.decode import decoded, idempotency_key, known_id, limit_of, query_of, text_of, timeout_of
from ngx_agents.gateway.wire import LogBody, ProfileBody, TurnBody

DECODERS = [msgspec.json.Decoder(kind) for kind in (TurnBody, ProfileBody, LogBody)]


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: b'{"text":"' + text.encode() + b'"}'))
def test_no_bytes_do_anything_but_decode_or_be_refused(body: bytes) -> None:
    for decoder in DECODERS:
        try:
            msgspec.json.encode(decoded(decoder, body))
        except InvalidRequest:
            continue


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b'{"text":1}', "text"),
        (b"{}", "text"),
        (b'{"text":"a","colour":"red"}', "colour"),
        (b'{"text":"a","class":4}', "class"),
        (b'{"text":"a","when_busy":"later"}', "when_busy"),
        (b'{"text":"a","locale":"<script>"}', "locale"),
        (b'{"text":"a","attachment":[]}', "attachment"),
        (b"[]", None),
        (b'{"text":"a"', None),
        (b'{"text":"\xff"}', None),
        (b'{"text":"\\ud800"}', None),
        (b'{"text":"\\udc00 and more text"}', None),
        (b"[" * 100_000, None),
        (b"", None),
    ],
)
def test_a_refusal_names_the_field(body: bytes, field: str | None) -> None:
    with pytest.raises(InvalidRequest) as refused:
        decoded(DECODERS[0], body)
    assert refused.value.field == field


def test_deep_nesting_in_free_data_is_refused() -> None:
    body = b'{"kind":"weight","data":{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}}"
    with pytest.raises(InvalidRequest):
        decoded(DECODERS[2], body)


@pytest.mark.parametrize("text", ["", "   ", "\n\t", "a\0b"])
def test_a_text_must_say_something_and_hold_no_nul(text: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        text_of(text, "text")
    assert refused.value.field == "text"


@pytest.mark.parametrize("value", ["", "a b", "é", "a" * 256, "a\n"])
def test_an_idempotency_key_is_visible_ascii(value: str) -> None:
    with pytest.raises(InvalidRequest):
        idempotency_key(value)
    assert idempotency_key("a" * 255) == "a" * 255


@pytest.mark.parametrize("value", ["0", "201", "-1", "1.5", "x", "", "٣", "9" * 5000])
def test_a_page_size_is_one_to_two_hundred(value: str) -> None:
    with pytest.raises(InvalidRequest):
        limit_of({"limit": value}, 50)
    assert (limit_of({}, 50), limit_of({"limit": "200"}, 50)) == (50, 200)


@pytest.mark.parametrize("value", ["", "c_1", "t_00" + "0" * 26, "c_00" + "I" * 26, "c_00" + "0" * 26 + "\n"])
def test_what_cannot_be_an_id_is_not_found(value: str) -> None:
    with pytest.raises(NotFound):
        known_id("c", value)


@given(st.binary(max_size=40))
def test_any_short_query_string_can_be_read(query_string: bytes) -> None:
    assert all(isinstance(value, str) for value in query_of(query_string).values())


def test_too_many_parameters_are_refused() -> None:
    with pytest.raises(InvalidRequest):
        query_of(b"a=1&" * 51)


@pytest.mark.parametrize("value", ["1000000", "0001000000.5", "9" * 300])
def test_a_timeout_that_is_too_large_is_called_so(value: str) -> None:
    with pytest.raises(InvalidRequest, match="below 1,000,000") as refused:
        timeout_of(value)
    assert refused.value.field == "X-Server-Timeout"
