from __future__ import annotations

from pathlib import Path

import pytest

from ngx_agents.agents import team
from ngx_agents.agents.language import Language
from ngx_agents.agents.safety import RedFlag, SafetyScreen
from ngx_agents.agents.safety_content import load_safety
from ngx_agents.agents.wording import normalise, words_of
from ngx_agents.errors import ConfigError
from ngx_agents.state.model import Profile

from .safety_phrases import CALM, CAUTIOUS, FLAGGED, UNCAUTIOUS

PATH = Path(team.__file__).parent / "safety.toml"
SCREEN = SafetyScreen(load_safety(PATH))


def flag_of(
    text: str, *, language: Language = "es", locale: str | None = None, profile: Profile | None = None
) -> RedFlag | None:
    plain = normalise(text)
    return SCREEN.red_flag(plain, words_of(plain), language=language, locale=locale, profile=profile or Profile())


def cautions_of(text: str, profile: Profile | None = None) -> tuple[str, ...]:
    plain = normalise(text)
    return SCREEN.cautions(plain, words_of(plain), profile or Profile())


@pytest.mark.parametrize(("flag", "text"), FLAGGED)
def test_a_red_flag_is_found(flag: str, text: str) -> None:
    found = flag_of(text)
    assert found is not None
    assert found.id == flag


@pytest.mark.parametrize("text", CALM)
def test_what_only_looks_like_a_red_flag_passes(text: str) -> None:
    assert flag_of(text) is None


@pytest.mark.parametrize(("flag", "text"), FLAGGED)
def test_a_red_flag_is_found_in_capitals_and_amid_a_longer_message(flag: str, text: str) -> None:
    assert flag_of(f"Hola, buenas tardes. {text.upper()}. Quiero un plan para este mes.") is not None


def test_every_flag_of_the_content_has_phrases_in_both_languages() -> None:
    content = load_safety(PATH)
    assert {flag.id for flag in content.flags} == {flag for flag, _ in FLAGGED}


@pytest.mark.parametrize(
    ("language", "locale", "number"),
    [
        ("es", "es-MX", "911"),
        ("es", "es-ES", "112"),
        ("es", "es_es", "112"),
        ("es", None, "112 en España"),
        ("en", "en-US", "911"),
        ("en", "en-GB", "999"),
        ("en", None, "911 in the US"),
        ("es", "fr-FR", "911 en México"),
    ],
)
def test_the_text_names_the_emergency_number_of_the_locale(language: Language, locale: str | None, number: str) -> None:
    found = flag_of("no puedo respirar, I can't breathe", language=language, locale=locale)
    assert found is not None
    assert number in found.text


def test_without_a_known_country_the_text_is_a_sentence() -> None:
    found = flag_of("I can't breathe", language="en")
    assert found is not None
    assert "Call the emergency number of your country" in found.text


@pytest.mark.parametrize(
    ("language", "locale", "line"),
    [("en", "en-US", "988"), ("es", "es-MX", "800 911 2000"), ("es", "es-ES", "024")],
)
def test_self_harm_is_answered_with_the_crisis_line_of_the_locale(language: Language, locale: str, line: str) -> None:
    found = flag_of("me quiero morir, I want to die", language=language, locale=locale)
    assert found is not None
    assert line in found.text


def test_no_text_of_a_flag_has_an_unfilled_placeholder() -> None:
    for flag, text in FLAGGED:
        for language in ("es", "en"):
            found = flag_of(text, language=language)
            assert found is not None, flag
            assert "{" not in found.text


def test_a_pregnancy_known_from_the_profile_makes_bleeding_an_alarm() -> None:
    assert flag_of("tengo sangrado") is None
    found = flag_of("tengo sangrado", profile=Profile(pregnant=True))
    assert found is not None
    assert found.id == "pregnancy_alarm"


@pytest.mark.parametrize(("caution", "text"), CAUTIOUS)
def test_a_caution_is_found_in_the_text(caution: str, text: str) -> None:
    assert caution in cautions_of(text)


@pytest.mark.parametrize("text", UNCAUTIOUS)
def test_ordinary_text_needs_no_caution(text: str) -> None:
    assert cautions_of(text) == ()


def test_cautions_come_from_the_profile_too() -> None:
    profile = Profile(age=16, pregnant=True, conditions=["asma"], medication=["salbutamol"])
    assert set(cautions_of("hola", profile)) == {"minor", "pregnancy", "chronic_condition", "medication"}


def test_every_caution_has_guidance_in_both_languages() -> None:
    ids = [caution for caution, _ in CAUTIOUS]
    assert all(SCREEN.guidance(ids, "es"))
    assert all(SCREEN.guidance(ids, "en"))
    assert SCREEN.guidance(ids, "es") != SCREEN.guidance(ids, "en")


def test_the_referral_is_left_out_when_the_answer_has_one() -> None:
    assert SCREEN.referral(normalise("Consulta a tu médico antes."), "es") is None
    assert SCREEN.referral(normalise("Camina 20 minutos."), "es") is not None


def test_a_disclaimer_is_no_referral() -> None:
    text = "Es orientación de bienestar, no consejo médico."
    assert SCREEN.referral(normalise(text), "es") is not None


@pytest.mark.parametrize(
    ("change", "names"),
    [
        (('kind = "crisis"', 'kind = "panic"'), "kind"),
        (("[contacts.es]", "[contacts.xx]"), "contacts.es"),
        (("firm = true", "frim = true"), "frim"),
        (('name.en = "chest pain or pressure"', ""), "flags[0].name"),
    ],
)
def test_a_broken_file_names_file_and_key(tmp_path: Path, change: tuple[str, str], names: str) -> None:
    path = tmp_path / "safety.toml"
    path.write_text(PATH.read_text(encoding="utf-8").replace(*change, 1), encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_safety(path)
    assert "safety.toml" in str(caught.value)
    assert names in str(caught.value)


def test_a_pattern_that_does_not_compile_is_a_configuration_error(tmp_path: Path) -> None:
    path = tmp_path / "safety.toml"
    text = PATH.read_text(encoding="utf-8").replace("worst (?:headache", "worst ((?:headache", 1)
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match="pattern"):
        SafetyScreen(load_safety(path))
