from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ngx_agents.errors import ModelProtocolError
from ngx_agents.vertex import sse
from ngx_agents.vertex.sse import FrameSplitter

ERROR = {"error": {"code": 503, "message": 'braces } in { "strings" \\', "status": "UNAVAILABLE", "details": [{}]}}


def frames_of(stream: bytes, cuts: list[int]) -> list[bytes]:
    splitter = FrameSplitter()
    frames: list[bytes] = []
    edges = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    for start, end in pairwise(edges):
        frames.extend(splitter.feed(stream[start:end]))
    return frames + splitter.finish()


def stream_of(values: list[str], ending: bytes, *, error_after: int | None = None) -> bytes:
    stream = b""
    for number, value in enumerate(values):
        if number == error_after:
            stream += json.dumps(ERROR, indent=2).encode().replace(b"\n", ending) + ending
        stream += b"data: " + json.dumps({"text": value}, ensure_ascii=False).encode() + ending * 2
    return stream


@settings(deadline=None)
@given(
    values=st.lists(st.text(alphabet=st.characters(exclude_categories=["Cs"])), max_size=6),
    ending=st.sampled_from([b"\n", b"\r\n", b"\r"]),
    cuts=st.lists(st.integers(min_value=0, max_value=5000), max_size=20),
)
def test_frames_are_the_same_wherever_the_chunks_break(values: list[str], ending: bytes, cuts: list[int]) -> None:
    frames = frames_of(stream_of(values, ending), cuts)
    assert [json.loads(frame)["text"] for frame in frames] == values


@settings(deadline=None)
@given(
    before=st.integers(min_value=0, max_value=2),
    ending=st.sampled_from([b"\n", b"\r\n"]),
    cuts=st.lists(st.integers(min_value=0, max_value=5000), max_size=20),
)
def test_bare_json_error_comes_out_whole(before: int, ending: bytes, cuts: list[int]) -> None:
    frames = frames_of(stream_of(["a", "b", "c"], ending, error_after=before), cuts)
    assert json.loads(frames[before]) == ERROR
    assert [json.loads(frame)["text"] for frame in frames[:before] + frames[before + 1 :]] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("chunks", "frames"),
    [
        ([b"data: 1\r\n\r\n", b"data: 2\r\n\r\n"], [b"1", b"2"]),
        ([b"data: 1\r\n\r\ndata: 2\r\n\r\n"], [b"1", b"2"]),
        ([b"data: [1,\r\ndata: 2]\r\n\r\n"], [b"[1,\n2]"]),
        ([b"data: 1\r\n", b"data: 2\r\n\r\n"], [b"1\n2"]),
        ([b"dat", b"a: 1\r\n\r\n", b"data: 2\r\n\r\n"], [b"1", b"2"]),
        ([b'{"error":\r\n', b"data: 1\r\n\r\n", b"}\r\n"], [b'{"error":\ndata: 1\n\n}']),
    ],
)
def test_chunk_that_is_one_frame_comes_out_as_in_any_other_cut(chunks: list[bytes], frames: list[bytes]) -> None:
    splitter = FrameSplitter()
    assert [frame for chunk in chunks for frame in splitter.feed(chunk)] + splitter.finish() == frames


def test_line_separator_in_a_string_ends_no_line() -> None:
    assert frames_of('data: "a\u2028b\u2029c\x85d"\n\n'.encode(), []) == ['"a\u2028b\u2029c\x85d"'.encode()]


def test_comments_and_other_fields_are_passed_over() -> None:
    assert frames_of(b": beat\n\nevent: message\nid: 7\nretry: 10\ndata: 1\n\n", []) == [b"1"]


def test_lines_of_one_event_are_joined() -> None:
    assert frames_of(b"data: [1,\ndata: 2]\n\n", []) == [b"[1,\n2]"]


def test_last_frame_needs_no_blank_line() -> None:
    assert frames_of(b"data: 1\n\ndata: 2", []) == [b"1", b"2"]


def test_bare_json_that_never_ends_gives_no_frame() -> None:
    splitter = FrameSplitter()
    assert splitter.feed(b'{\n "error": {\n') == []
    assert splitter.is_inside
    assert splitter.finish() == []


def test_frame_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "MAX_FRAME_BYTES", 1000)
    splitter = FrameSplitter()
    for _ in range(100):
        splitter.feed(b"data: aaaa")
    with pytest.raises(ModelProtocolError):
        splitter.feed(b"a")
