"""Pieces of text joined by the sentence: nothing lost, nothing kept back longer than its sentence."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ngx_agents.vertex.sentences import END, LONGEST_END, MOST_HELD, Joined

PIECES = st.lists(st.text(alphabet="ab.!?… \n*", max_size=40), max_size=60)


def handed_on(pieces: list[str]) -> list[str]:
    joined = Joined()
    return [*(joined.feed(piece) for piece in pieces), joined.rest()]


@given(PIECES)
def test_every_character_is_handed_on_in_its_order(pieces: list[str]) -> None:
    assert "".join(handed_on(pieces)) == "".join(pieces)


@given(PIECES)
def test_what_is_kept_back_is_short_and_has_no_end_in_it(pieces: list[str]) -> None:
    joined, came, told = Joined(), "", ""
    for piece in pieces:
        came += piece
        told += joined.feed(piece)
        kept = came[len(told) :]
        assert len(kept) < MOST_HELD
        assert END.search(came, max(0, len(told) - LONGEST_END + 1), len(came)) is None or not kept


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        (["Hola", ", ¿qu", "é tal? Bien"], ["Hola", "", ", ¿qué tal? Bien", ""]),
        (["Uno", " dos.", " Tres", " cuatro"], ["Uno", "", " dos. Tres", "", " cuatro"]),
        (["Uno", " **dos.", "**", " Tres"], ["Uno", "", "", " **dos.** Tres", ""]),
        (["", "a"], ["", "a", ""]),
        ([], [""]),
    ],
)
def test_the_first_piece_comes_at_once_and_the_others_by_the_sentence(pieces: list[str], expected: list[str]) -> None:
    assert handed_on(pieces) == expected
