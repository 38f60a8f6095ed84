import itertools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ngx_agents.cli.sse import EventReader, ServerEvent


def test_an_event_is_read_with_id_name_and_data():
    assert EventReader().feed(b'id: 1-2\nevent: text.delta\ndata: {"text": "hi"}\n\n') == [
        ServerEvent("1-2", "text.delta", {"text": "hi"})
    ]


def test_comments_and_unfinished_events_give_nothing():
    reader = EventReader()
    assert reader.feed(b": heartbeat\n\nid: 1-1\nevent: a\n") == []
    assert reader.feed(b"data: {}\n\n") == [ServerEvent("1-1", "a", {})]


def test_when_to_come_back_is_remembered_and_nonsense_ignored():
    reader = EventReader()
    assert reader.feed(b"retry: 1500\n\nretry: soon\n\nretry: -1\n\n") == []
    assert reader.retry_s == 1.5


def test_several_data_lines_are_one_value():
    assert EventReader().feed(b'data: {"a":\r\ndata: 1}\r\n\r\n') == [ServerEvent("", "message", {"a": 1})]


def test_data_that_is_no_object_is_an_error():
    with pytest.raises(ValueError, match="not a JSON object"):
        EventReader().feed(b"data: 1\n\n")


@settings(deadline=None)  # a busy machine says nothing about the reader
@given(st.lists(st.text(), max_size=5), st.lists(st.integers(0, 200), max_size=8))
def test_it_does_not_matter_where_the_bytes_are_cut(texts, cuts):
    stream = b"".join(
        f"id: 1-{seq}\nevent: text.delta\ndata: {json.dumps({'text': text}, ensure_ascii=False)}\n\n".encode(
            "utf-8", "surrogatepass"
        )
        for seq, text in enumerate(texts)
    )
    reader, events = EventReader(), []
    edges = sorted({0, len(stream), *(min(cut, len(stream)) for cut in cuts)})
    for start, end in itertools.pairwise(edges):
        events += reader.feed(stream[start:end])
    assert [event.data["text"] for event in events] == texts
