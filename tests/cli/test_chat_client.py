import ssl

import pytest
from aiohttp import web

from ngx_agents.cli import chat_client
from ngx_agents.cli.chat_client import ChatClient, ServerGoneError, ServerRefusedError
from tests.cli.scripted_server import ACCEPTED, DROP, ScriptedServer, completed, delta
from tests.emulator_process import certificate


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch):
    monkeypatch.setattr(chat_client, "RETRY_DELAYS_S", (0.001,))


async def events_of(server, **options):
    async with ChatClient(server.url, **options) as client:
        return [(event.id, event.name, event.data.get("text")) async for event in client.turn("c_1", {"text": "hi"})]


async def test_a_turn_is_posted_once_with_an_idempotency_key_and_streamed():
    async with ScriptedServer([ACCEPTED, delta("1-2", "a"), completed("1-3")]).running() as server:
        got = await events_of(server, api_key="k")
    [(method, path, headers, body)] = server.requests
    assert [name for _, name, _ in got] == ["turn.accepted", "text.delta", "turn.completed"]
    assert (method, path, body) == ("POST", "/v1/conversations/c_1/turns", {"text": "hi"})
    assert (headers["Accept"], headers["Authorization"]) == ("text/event-stream", "Bearer k")
    assert len(headers["Idempotency-Key"]) == 32


async def test_a_dropped_stream_is_taken_up_after_the_last_event_without_doubling_text():
    first = [ACCEPTED, delta("1-2", "one "), delta("1-3", "two "), DROP]
    # the second connection repeats what was seen, as a server may
    second = [delta("1-2", "one "), delta("1-3", "two "), delta("1-4", "three"), completed("1-5")]
    async with ScriptedServer(first, second).running() as server:
        got = await events_of(server)
    assert "".join(text or "" for _, _, text in got) == "one two three"
    method, path, headers, _ = server.requests[1]
    assert (method, path, headers["Last-Event-ID"]) == ("GET", "/v1/turns/t_1/events", "1-3")


async def test_a_new_epoch_counts_from_its_own_beginning():
    first = [ACCEPTED, delta("1-7", "old"), DROP]
    second = [("2-1", "text.reset", {"reason": "lease_moved"}), delta("2-2", "new"), completed("2-3")]
    async with ScriptedServer(first, second).running() as server:
        got = await events_of(server)
    assert [event_id for event_id, _, _ in got] == ["1-1", "1-7", "2-1", "2-2", "2-3"]


async def test_frames_without_an_id_are_given_and_do_not_move_the_place_to_resume_from():
    first = [ACCEPTED, delta("1-2", "one"), DROP]
    second = [("", "text.reset", {"reason": "resumed"}), delta("", "one two"), DROP]
    third = [("", "text.reset", {"reason": "resumed"}), delta("", "one two"), completed("1-9")]
    async with ScriptedServer(first, second, third).running() as server:
        got = await events_of(server)
    assert [headers.get("Last-Event-ID") for _, _, headers, _ in server.requests] == [None, "1-2", "1-2"]
    assert [text for _, _, text in got][-2:] == ["one two", None]


async def test_a_post_that_got_no_answer_is_repeated_with_the_same_key():
    async with ScriptedServer([DROP], [ACCEPTED, completed("1-2")]).running() as server:
        got = await events_of(server)
    keys = {headers["Idempotency-Key"] for _, _, headers, _ in server.requests}
    assert [method for method, *_ in server.requests] == ["POST", "POST"]
    assert len(keys) == 1
    assert got[-1][1] == "turn.completed"


async def test_a_server_that_restarts_is_waited_for_while_a_turn_is_under_way():
    scripts = ([ACCEPTED, DROP], web.Response(status=503), web.Response(status=502), [completed("1-2")])
    async with ScriptedServer(*scripts).running() as server:
        got = await events_of(server)
    assert got[-1][:2] == ("1-2", "turn.completed")


async def test_a_stream_that_never_ends_properly_is_given_up():
    async with ScriptedServer(*[[ACCEPTED, DROP] for _ in range(1 + chat_client.MAX_RETRIES)]).running() as server:
        with pytest.raises(ServerGoneError, match="does not answer any more"):
            await events_of(server)
    assert len(server.requests) == 1 + chat_client.MAX_RETRIES


async def test_a_refusal_is_told_in_the_servers_words_with_the_time_to_wait():
    problem = web.json_response(
        {"code": "overloaded", "detail": "too many turns are waiting"}, status=503, headers={"Retry-After": "2"}
    )
    async with ScriptedServer(problem).running() as server:
        with pytest.raises(ServerRefusedError, match=r"^too many turns are waiting \(try again in 2 s\)$") as caught:
            await events_of(server)
    assert caught.value.status == 503


async def test_without_credentials_the_user_is_told_where_to_put_them():
    async with ScriptedServer(web.json_response({"detail": "no key"}, status=401)).running() as server:
        with pytest.raises(ServerRefusedError, match="NGX_API_KEY"):
            await events_of(server)


async def test_no_server_is_told_at_once():
    async with ChatClient("http://127.0.0.1:1") as client:
        with pytest.raises(ServerGoneError, match="start one with `ngx serve`"):
            await client.new_conversation()
        with pytest.raises(ServerGoneError, match="start one with `ngx serve`"):
            [event async for event in client.turn("c_1", {})]


async def test_a_certificate_that_is_not_trusted_is_called_so_and_not_an_absent_server():
    app = web.Application()
    made = certificate()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(made.cert_file, made.key_file)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    port = runner.addresses[0][1]
    try:
        async with ChatClient(f"https://127.0.0.1:{port}") as client:
            with pytest.raises(ServerGoneError, match="SSL_CERT_FILE") as told:
                await client.new_conversation()
            assert "ngx serve" not in str(told.value)
            with pytest.raises(ServerGoneError, match="certificate"):
                [event async for event in client.turn("c_1", {"text": "hi"})]
    finally:
        await runner.cleanup()


async def test_a_server_without_tls_is_called_so_where_https_was_asked_for():
    async with ScriptedServer([ACCEPTED]).running() as server, ChatClient(server.url.replace("http:", "https:")) as on:
        with pytest.raises(ServerGoneError, match="TLS"):
            await on.new_conversation()
