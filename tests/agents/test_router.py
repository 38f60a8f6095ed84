from __future__ import annotations

from ngx_agents.agents.loader import load_team
from ngx_agents.agents.router import Route, Router
from ngx_agents.agents.tools.registry import build_tools
from ngx_agents.agents.wording import normalise, words_of

from .routing_phrases import GENERAL, LABELLED, REPLY, N, P, T

TEAM = load_team(tools=build_tools())
ROUTER = Router(TEAM)


def route(text: str, *, last_agent: str | None = None) -> Route:
    return ROUTER.route(words_of(normalise(text)), last_agent=last_agent)


def answering(found: Route) -> frozenset[str]:
    if found.reply is not None:
        return frozenset({REPLY})
    return frozenset(found.agents) if found.kind == "evidence" else frozenset({GENERAL})


def test_nine_in_ten_of_the_held_out_messages_go_to_the_right_agents() -> None:
    wrong = [
        (text, set(want), set(answering(route(text)))) for want, text in LABELLED if answering(route(text)) != want
    ]
    assert len(LABELLED) >= 60
    assert 1 - len(wrong) / len(LABELLED) >= 0.9, wrong


def test_no_held_out_message_is_an_example_of_the_team() -> None:
    examples = {normalise(text) for agent in TEAM.agents for skill in agent.examples.values() for text in skill.all()}
    assert not [text for _, text in LABELLED if normalise(text) in examples and len(text.split()) > 3]


def test_a_weight_to_log_and_a_question_about_it_are_different_skills() -> None:
    assert route("anota mi peso: 80.4 kg").skills == {P: "log_weight"}
    assert route("¿cómo va mi peso este mes?").skills == {P: "analyze_progress"}


def test_a_question_about_the_change_or_the_goal_is_analysed_and_not_logged() -> None:
    for text in ("¿Cuándo llegaré a 75 kg?", "¿Cuánto he bajado en las últimas 2 semanas?", "how much have I lost?"):
        assert route(text).skills == {P: "analyze_progress"}, text


def test_a_question_that_no_skill_computes_has_no_best_guess_but_a_reply_of_its_own() -> None:
    for text in (
        "¿puedo correr con el tobillo torcido?",
        "how do I do a squat properly?",
        "cuántas calorías tiene un plátano",
    ):
        found = route(text, last_agent=T)
        assert (found.kind, found.agents) == ("general", ()), text
        assert found.fallback in TEAM.orchestrator.replies


def test_a_joke_or_a_bare_number_gets_no_guess() -> None:
    assert route("cuéntame un chiste").agents == ()
    assert route("1").agents == ()


def test_a_weight_mentioned_in_another_request_is_not_logged() -> None:
    found = route("peso 90 kg y quiero una rutina de gimnasio con un menú semanal para bajar grasa")
    assert P not in found.agents


def test_another_agent_needs_evidence_in_the_text() -> None:
    assert route("quiero una rutina de fuerza para el gimnasio").agents == (T,)


def test_an_age_is_no_evidence_for_anybody() -> None:
    assert route("I'm 16 and want a strength workout").agents == (T,)
    assert route("tengo 52 años y quiero una rutina de fuerza").agents == (T,)


def test_a_greeting_with_a_request_is_a_request() -> None:
    assert route("hola, hazme un menú semanal por favor").agents == (N,)


def test_confidence_grows_with_evidence() -> None:
    assert route("rutina de gimnasio de fuerza con pesas").confidence > route("gimnasio").confidence


def test_a_long_message_costs_no_more_than_its_ends() -> None:
    filler = "palabra " * 2000
    assert route(f"quiero una rutina de entrenamiento {filler}").agents == (T,)
    assert route(f"{filler} quiero una rutina de entrenamiento").agents == (T,)


def test_a_chosen_agent_gets_the_skill_that_the_words_ask_for() -> None:
    assert ROUTER.route_to(P, words_of("anota 80 kg")).skills == {P: "log_weight"}
    assert ROUTER.route_to(P, words_of("nada de eso")).skills == {P: "analyze_progress"}


def test_an_empty_message_is_claimed_by_nobody() -> None:
    found = route("")
    assert (found.kind, found.agents, found.reply) == ("general", (), None)


def test_a_follow_up_goes_to_the_last_agent_only_when_nothing_else_claims_it() -> None:
    assert route("¿y el jueves?", last_agent=N).agents == (N,)
    assert route("¿y el jueves?").agents == ()
    assert route("quiero una rutina de fuerza", last_agent=N).agents == (T,)
