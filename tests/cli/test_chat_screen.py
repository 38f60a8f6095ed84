import io

import pytest

from ngx_agents.cli.chat_screen import Screen, badge
from ngx_agents.cli.sse import ServerEvent


class Terminal(io.StringIO):
    def isatty(self):
        return True


def show(screen, *events):
    for name, data in events:
        screen.show(ServerEvent("", name, data))


def test_into_a_pipe_goes_only_what_was_not_withdrawn():
    answers, notes = io.StringIO(), io.StringIO()
    show(
        Screen(answers, notes),
        ("text.delta", {"text": "wrong"}),
        ("text.reset", {"reason": "model_failed"}),
        ("text.delta", {"text": "right"}),
        ("turn.completed", {"source": "template", "degraded": True}),
    )
    assert answers.getvalue() == "right\n"
    assert notes.getvalue() == "— template · degraded —\n"


def test_on_a_terminal_text_shows_at_once_and_a_reset_is_marked():
    answers, notes = Terminal(), io.StringIO()
    screen = Screen(answers, notes)
    show(screen, ("text.delta", {"text": "wrong"}))
    assert answers.getvalue().endswith("wrong")
    show(screen, ("text.reset", {"reason": "model_failed"}), ("text.delta", {"text": "right"}))
    assert answers.getvalue().endswith("wrong\nright")
    assert "withdrawn" in notes.getvalue()


def test_text_that_is_said_again_after_a_reconnect_is_not_shown_twice():
    answers, notes = Terminal(), io.StringIO()
    said = ("text.delta", {"text": "one "}), ("text.delta", {"text": "two "})
    again = (
        ("text.reset", {"reason": "resumed"}),
        ("text.delta", {"text": "one two thr"}),
        ("text.delta", {"text": "ee"}),
    )
    show(Screen(answers, notes), *said, *again, ("turn.completed", {"source": "model"}))
    assert answers.getvalue() == "\r\x1b[2Kone two three\n"
    assert "withdrawn" not in notes.getvalue()


def test_text_that_stays_withdrawn_is_marked_at_the_end():
    answers, notes = Terminal(), io.StringIO()
    show(Screen(answers, notes), ("text.delta", {"text": "half"}), ("text.reset", {}), ("turn.failed", {"code": "x"}))
    assert notes.getvalue() == "— the text above is withdrawn —\n— failed: x —\n"


def test_an_artifact_that_is_told_again_is_listed_once():
    notes = io.StringIO()
    artifact = ("artifact", {"id": "a_1", "kind": "MealPlan", "title": "Week", "data": {}})
    show(Screen(io.StringIO(), notes), artifact, artifact, ("turn.completed", {"source": "model"}))
    assert notes.getvalue().count("MealPlan") == 1


def test_artifacts_are_listed_with_title_and_id():
    answers, notes = io.StringIO(), io.StringIO()
    artifact = {"id": "a_1", "kind": "TrainingPlan", "title": "Three days", "data": {}}
    show(Screen(answers, notes), ("artifact", artifact), ("turn.completed", {"source": "model"}))
    assert notes.getvalue() == "▸ TrainingPlan: Three days (a_1)\n— model —\n"


async def test_the_spinner_shows_what_it_waits_for_and_goes_with_the_first_word():
    answers = Terminal()
    screen = Screen(answers, io.StringIO())
    show(screen, ("turn.accepted", {"position": 2}))
    screen.show(ServerEvent("", "agent.started", {"agent": "coach"}))
    screen.stop_waiting()
    await screen.spin()  # nothing to wait for any more: returns at once
    assert answers.getvalue() == "\r\x1b[2K"


@pytest.mark.parametrize(
    ("name", "data", "line"),
    [
        (
            "turn.completed",
            {"source": "model", "model": "m", "location": "global", "agents": ["a", "b"]},
            "— model · m · global · a, b —",
        ),
        ("turn.completed", {"source": "template", "model": None, "degraded": True}, "— template · degraded —"),
        (
            "turn.failed",
            {"code": "x", "message": "no answer", "retry_after_s": 2.0},
            "— failed: no answer; try again in 2 s —",
        ),
        ("turn.failed", {"code": "deadline_exceeded"}, "— failed: deadline_exceeded —"),
        ("turn.cancelled", {}, "— cancelled —"),
    ],
)
def test_the_badge_says_how_the_turn_ended(name, data, line):
    assert badge(name, data) == line
