from __future__ import annotations

from ngx_agents.agents.closing import Closing
from ngx_agents.agents.loader import TEAM_FOLDER
from ngx_agents.agents.safety import SafetyScreen
from ngx_agents.agents.safety_content import load_safety

CLOSING = Closing(SafetyScreen(load_safety(TEAM_FOLDER / "safety.toml")))
LIMITS = ["Sin impacto por la rodilla derecha", "Nada de cacahuate"]


def test_limits_the_answer_left_out_are_listed_after_it() -> None:
    added = CLOSING.of("Corre suave.", constraints=LIMITS, cautions=(), language="es")
    assert all(f"- {limit}" in added for limit in LIMITS)
    assert added.startswith("\n\n")


def test_a_limit_that_is_mentioned_in_other_words_order_is_not_repeated() -> None:
    text = "Cuidaremos tu RODILLA derecha: nada con impacto."
    added = CLOSING.of(text, constraints=LIMITS, cautions=(), language="es")
    assert "rodilla" not in added
    assert "cacahuate" in added


def test_a_caution_asks_for_a_professional_unless_the_answer_did() -> None:
    assert "doctor" in CLOSING.of("Walk.", constraints=(), cautions=("minor",), language="en")
    assert CLOSING.of("Ask your doctor.", constraints=(), cautions=("minor",), language="en") == ""


def test_nothing_is_added_when_nothing_is_missing() -> None:
    assert CLOSING.of("Corre.", constraints=(), cautions=(), language="es") == ""
