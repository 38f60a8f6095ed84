from __future__ import annotations

import json
import re
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import openai
import pytest

from ngx_agents.vertex.client import VertexAIClient
from ngx_agents.vertex.content import StreamEnd, TextChunk
from ngx_agents.vertex.local_model import MODEL_NAME
from ngx_agents.vertex.settings import VertexSettings
from tests.vertex import conftest as vertex
from tests.vertex.local_model.conftest import ask, call, needs_local

pytestmark = needs_local
CHAT = "/v1/chat/completions"
SENTENCES = re.compile(r"[A-Z][A-Za-z ,;'-]*[.!?]( [A-Z][A-Za-z ,;'-]*[.!?])?")
ENDLESS = "Tell me everything about sleep, food, water, walking, running and rest."


def test_a_simple_question_gets_a_short_whole_answer_with_its_usage(served: str) -> None:
    reply = call(served, CHAT, ask("What is protein?")).json
    (choice,) = reply["choices"]
    assert "protein" in choice["message"]["content"].lower()
    assert (choice["finish_reason"], reply["model"], reply["object"]) == ("stop", MODEL_NAME, "chat.completion")
    assert 0 < reply["usage"]["completion_tokens"] <= 80
    assert reply["usage"]["prompt_tokens"] > 0


@pytest.mark.parametrize("question", ["How many glasses of water a day?", "Good morning"])
def test_an_answer_is_at_most_two_plain_sentences_the_same_every_time(served: str, question: str) -> None:
    answers = [call(served, CHAT, ask(question)).json for _ in range(2)]
    first, second = (answer["choices"][0]["message"]["content"] for answer in answers)
    assert first == second
    assert SENTENCES.fullmatch(first), first


def test_a_bounded_answer_says_that_it_was_cut(served: str) -> None:
    reply = call(served, CHAT, ask("Why is sleep important?", max_tokens=3)).json
    assert (reply["choices"][0]["finish_reason"], reply["usage"]["completion_tokens"]) == ("length", 3)


def test_a_stream_says_the_same_as_the_whole_answer_and_ends_with_done(served: str) -> None:
    whole = call(served, CHAT, ask("Hello")).json
    streamed = call(served, CHAT, ask("Hello", stream=True, stream_options={"include_usage": True}))
    assert streamed.headers["content-type"] == "text/event-stream"
    *frames, done = [frame.removeprefix(b"data: ") for frame in streamed.body.strip().split(b"\n\n")]
    chunks = [json.loads(frame) for frame in frames]
    texts = [choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"]]
    assert (done, "".join(texts)) == (b"[DONE]", whole["choices"][0]["message"]["content"])
    assert chunks[-1]["usage"]["completion_tokens"] == whole["usage"]["completion_tokens"]


def test_openais_own_client_reads_it(served: str) -> None:
    with openai.OpenAI(base_url=served, api_key="none", max_retries=0) as client:
        reply = client.chat.completions.create(model="any", messages=[{"role": "user", "content": "Hello"}])
        pieces = client.chat.completions.create(
            model="any", messages=[{"role": "user", "content": "Hello"}], stream=True
        )
        said = "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices)
        assert reply.choices[0].message.content == said
        assert [model.id for model in client.models.list()] == [MODEL_NAME]


async def test_our_client_reads_it_whole_and_streamed(served: str) -> None:
    settings = VertexSettings(provider="openai", openai_url=served, model=MODEL_NAME)
    async with VertexAIClient(settings=settings) as client:
        reply = await client.generate(vertex.ask("What is protein?", system="Long instructions."))
        events = [event async for event in client.stream(vertex.ask("What is protein?"))]
    assert isinstance(events[-1], StreamEnd)
    assert "".join(event.text for event in events if isinstance(event, TextChunk)) == reply.text
    assert events[-1].reply.usage.output_tokens == reply.usage.output_tokens > 0


@pytest.mark.parametrize(
    ("path", "method", "body", "status", "kind"),
    [
        (CHAT, "POST", b"{", 400, "invalid_request"),
        (CHAT, "POST", ask("x" * 2001), 400, "invalid_request"),
        (CHAT, "POST", ask("¿Qué es la proteína?", stream=True), 400, "invalid_request"),
        (CHAT, "POST", ask("x" * 300_000), 413, "body_too_large"),
        (CHAT, "GET", None, 405, "method_not_allowed"),
        ("/v1/models", "POST", b"{}", 405, "method_not_allowed"),
        ("/v1/nothing", "GET", None, 404, "not_found"),
        ("/", "GET", None, 404, "not_found"),
    ],
)
def test_bad_requests_get_one_clear_error(
    served: str, path: str, method: str, body: object, status: int, kind: str
) -> None:
    refused = call(served, path, body, method=method)
    assert (refused.status, refused.json["error"]["type"]) == (status, kind)
    assert refused.json["error"]["message"]


def test_one_runs_one_waits_and_the_third_is_refused_at_once(served: str) -> None:
    with ThreadPoolExecutor(6) as pool:  # so long to read that all six have come before the first is answered
        texts = [f"What is {name}? {'Walking is good for you. ' * 24}" for name in "abcdef"]
        calls = [pool.submit(call, served, CHAT, ask(text, max_tokens=1)) for text in texts]
        answers = [done.result() for done in calls]
    refused = [answer for answer in answers if answer.status == 503]
    assert sum(answer.status == 200 for answer in answers) == 2
    assert len(refused) == 4
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
    assert refused[0].json["error"]["type"] == "overloaded"


@pytest.mark.parametrize("streams", [True, False])
def test_callers_that_leave_free_their_places_at_once(served: str, streams: bool) -> None:
    body = json.dumps(ask(ENDLESS, max_tokens=120, stream=streams)).encode()
    parts = urlsplit(served)
    head = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    for _ in range(2):
        with socket.create_connection((parts.hostname, parts.port)) as caller:
            caller.sendall(head + body)
            time.sleep(0.02)
    began_s = time.monotonic()
    while (answer := call(served, CHAT, ask("Hi", max_tokens=1))).status == 503:
        assert time.monotonic() - began_s < 5
        time.sleep(0.02)
    assert answer.status == 200


def test_its_health_is_told_while_it_answers(served: str) -> None:
    answering = threading.Thread(target=call, args=(served, CHAT, ask(ENDLESS, max_tokens=60)))
    answering.start()
    began_s = time.monotonic()
    assert call(served, "/health").json == {"status": "ok"}
    assert time.monotonic() - began_s < 2.0
    answering.join()
