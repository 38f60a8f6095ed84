from __future__ import annotations

import re

import pytest

from ngx_agents.agents.tools.wording import Wording, load_table, load_wording

TABLES = ("training/wording.toml", "nutrition/wording.toml", "weight/wording.toml")


@pytest.mark.parametrize("path", TABLES)
def test_both_languages_have_the_same_placeholders(path: str) -> None:
    wording = load_wording(path)
    assert wording.keys()
    for key in wording.keys():  # noqa: SIM118
        spanish, english = (re.findall(r"{(\w+)", wording.say(language, key)) for language in ("es", "en"))
        assert sorted(spanish) == sorted(english), key


def test_placeholders_are_filled() -> None:
    wording = Wording({"a": {"b": {"es": "hola {name}", "en": "hi {name}"}}})
    assert wording.say("en", "a.b", name="Ana") == "hi Ana"


def test_user_text_with_braces_is_not_a_placeholder() -> None:
    wording = Wording({"a": {"es": "«{item}»", "en": "“{item}”"}})
    assert wording.say("es", "a", item="{0.__class__}") == "«{0.__class__}»"


def test_an_unknown_key_is_an_error() -> None:
    with pytest.raises(KeyError):
        Wording({}).say("es", "nothing")


def test_the_injury_table_names_every_area_in_both_languages() -> None:
    assert all({"es", "en"} == set(area["name"]) for area in load_table("training/injuries.toml").values())
