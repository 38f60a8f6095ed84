"""What is heard of an agent elsewhere, for any order and number of events."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ngx_agents.agents.remote.hearing import MAX_ARTIFACTS, Hearing
from ngx_agents.agents.remote.wire import ArtifactUpdate, Part, RemoteArtifact, Said, Status, StatusUpdate, StreamEvent
from ngx_agents.errors import RemoteError

TEXTS = st.text(max_size=8)


def update(name: str, text: str, *, append: bool) -> StreamEvent:
    artifact = RemoteArtifact(artifact_id=name, parts=(Part(text=text),))
    return StreamEvent(artifact_update=ArtifactUpdate(task_id="t", artifact=artifact, append=append))


@given(st.lists(TEXTS, min_size=1, max_size=30))
def test_appended_pieces_add_up_and_never_take_back(pieces):
    hearing, before = Hearing(), ""
    for number, piece in enumerate(pieces):
        hearing.take(update("a", piece, append=number > 0))
        assert hearing.text.startswith(before)
        before = hearing.text
    assert hearing.text == "".join(pieces)


@given(st.lists(st.tuples(st.integers(0, 40), TEXTS, st.booleans()), max_size=80))
def test_no_more_artifacts_are_kept_than_allowed(events):
    hearing, names = Hearing(), set()
    try:
        for number, text, append in events:
            names.add(number)
            hearing.take(update(f"a{number}", text, append=append))
    except RemoteError:
        assert len(names) > MAX_ARTIFACTS
    assert len(names) <= MAX_ARTIFACTS + 1


@given(st.text(max_size=30), TEXTS)
def test_a_status_of_any_name_ends_the_answer_only_when_it_is_an_end(state, words):
    hearing = Hearing()
    said = Said(parts=(Part(text=words),))
    hearing.take(StreamEvent(status_update=StatusUpdate(task_id="t", status=Status(state=state, message=said))))
    assert not hearing.is_over
    assert hearing.text == ""
