from __future__ import annotations

import pytest

from ngx_agents.agents.tools.health import health_from
from ngx_agents.state.model import Profile


@pytest.mark.parametrize(
    ("text", "states"),
    [
        ("estoy embarazada de 20 semanas y quiero un plan de fuerza", {"pregnant"}),
        ("estoy embarazada y no quiero pescado", {"pregnant"}),
        ("I'm pregnant", {"pregnant"}),
        ("tuve un infarto hace un mes, quiero plan de correr", {"heart", "condition"}),
        ("I had a heart attack", {"heart", "condition"}),
        ("tengo hipertensión", {"condition"}),
        ("tengo diabetes tipo 1", {"condition"}),
        ("¿Es malo correr con fiebre?", {"fever"}),
        ("enfermedad renal", {"kidney", "condition"}),
        ("no estoy embarazada, no tengo diabetes", set()),
        ("I'm not pregnant", set()),
        ("sin hipertensión ni diabetes", set()),
        ("mi mujer está embarazada", set()),
        ("quiero hacer cardio", set()),
    ],
)
def test_states_are_read_unless_denied(text: str, states: set[str]) -> None:
    assert health_from([text], Profile()) == states


def test_a_state_holds_until_it_is_denied() -> None:
    assert health_from(["tengo fiebre", "¿y un plan?"], Profile()) == {"fever"}
    assert health_from(["tengo fiebre", "ya no tengo fiebre"], Profile()) == set()


def test_the_profile_always_holds() -> None:
    assert health_from(["no estoy embarazada"], Profile(pregnant=True)) == {"pregnant"}
    assert health_from([], Profile(medication=["x"])) == {"condition"}
