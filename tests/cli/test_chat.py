import asyncio
import os

from tests.cli.command import NGX, clean_environ, ngx
from tests.cli.pty_chat import PtyChat
from tests.cli.scripted_server import ACCEPTED, HANG, WAIT_FOR_CANCEL, ScriptedServer, completed, delta

CANCELLED = ("1-9", "turn.cancelled", {"turn_id": "t_1"})


async def chat(server, *args, cwd, stdin=b""):
    process = await asyncio.create_subprocess_exec(
        NGX, "chat", "--url", server.url, *args, cwd=cwd, env=clean_environ(), stdin=-1, stdout=-1, stderr=-1
    )
    out, err = await asyncio.wait_for(process.communicate(stdin), 30)
    return process.returncode, out.decode(), err.decode()


async def test_once_prints_the_answer_on_stdout_and_the_badge_on_stderr(tmp_path):
    async with ScriptedServer([ACCEPTED, delta("1-2", "Hola"), completed("1-3")]).running() as server:
        code, out, err = await chat(server, "--once", "hi", "--agent", "coach", "--locale", "es-MX", cwd=tmp_path)
    assert (code, out, err) == (0, "Hola\n", "— model · m-1 · global · coach —\n")
    assert server.requests[0][3] == {"text": "hi", "agent": "coach", "locale": "es-MX"}


async def test_a_failed_turn_makes_once_fail(tmp_path):
    failed = ("1-2", "turn.failed", {"turn_id": "t_1", "code": "overloaded", "message": "too busy"})
    async with ScriptedServer([ACCEPTED, failed]).running() as server:
        code, out, err = await chat(server, "--once", "hi", cwd=tmp_path)
    assert (code, out, err) == (1, "", "— failed: too busy —\n")


async def test_a_reader_that_leaves_ends_it_without_a_traceback(tmp_path):
    there, ours = os.pipe()
    os.close(there)
    async with ScriptedServer([ACCEPTED, delta("1-2", "Hola " * 5000), completed("1-3")]).running() as server:
        process = await asyncio.create_subprocess_exec(
            NGX, "chat", "--url", server.url, "--once", "hi", cwd=tmp_path, env=clean_environ(), stdout=ours, stderr=-1
        )
        os.close(ours)
        _, err = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 1
    assert b"Traceback" not in err


async def test_messages_are_asked_one_after_the_other_until_the_input_ends(tmp_path):
    turns = [[ACCEPTED, delta("1-2", text), completed("1-3")] for text in ("one", "two")]
    async with ScriptedServer(*turns).running() as server:
        code, out, _ = await chat(server, cwd=tmp_path, stdin=b"a\n\n/what\nb\n")
    assert (code, out) == (0, "one\nthere is /new and /quit\ntwo\n")
    assert [body["text"] for *_, body in server.requests] == ["a", "b"]


async def test_without_a_server_there_is_one_clear_line(tmp_path):
    class Nobody:
        url = "http://127.0.0.1:1"

    code, out, err = await chat(Nobody, "--once", "hi", cwd=tmp_path)
    assert (code, out) == (1, "")
    assert err == "ngx: no server answers at http://127.0.0.1:1: start one with `ngx serve`\n"


async def test_on_a_terminal_it_spins_streams_and_ends_with_the_input(tmp_path):
    script = [
        ACCEPTED,
        ("1-2", "agent.started", {"agent": "coach"}),
        WAIT_FOR_CANCEL,
        delta("1-3", "Hola"),
        completed("1-4"),
    ]
    async with ScriptedServer(script).running() as server:
        terminal = PtyChat(server.url, tmp_path)
        await terminal.until("› ")
        terminal.type("hi\n")
        await terminal.until("coach …")
        server.cancelled.set()  # which the script waits for
        await terminal.until("— model · m-1 · global · coach —")
        await terminal.until("› ")
        terminal.type("\x04")
        assert await terminal.exit_code() == 0
    assert "⠋" in terminal.seen
    assert "\r\x1b[2KHola\r\n" in terminal.seen


async def test_ctrl_c_cancels_the_turn_and_the_conversation_goes_on(tmp_path):
    async with ScriptedServer([ACCEPTED, delta("1-2", "Ho"), WAIT_FOR_CANCEL, CANCELLED]).running() as server:
        terminal = PtyChat(server.url, tmp_path)
        await terminal.until("› ")
        terminal.type("hi\n")
        await terminal.until("Ho")
        terminal.type("\x03")
        await terminal.until("— cancelled —")
        await terminal.until("› ")
        assert server.cancelled.is_set()
        terminal.type("/quit\n")
        assert await terminal.exit_code() == 0


async def test_ctrl_c_twice_leaves_with_130_and_without_a_traceback(tmp_path):
    async with ScriptedServer([ACCEPTED, delta("1-2", "Ho"), HANG]).running() as server:
        terminal = PtyChat(server.url, tmp_path)
        await terminal.until("› ")
        terminal.type("hi\n")
        await terminal.until("Ho")
        terminal.type("\x03")
        await asyncio.wait_for(server.cancelled.wait(), 10)
        terminal.type("\x03")
        assert await terminal.exit_code() == 130
    assert "Traceback" not in terminal.seen


async def test_ctrl_c_at_the_prompt_leaves_with_130(tmp_path):
    async with ScriptedServer().running() as server:
        terminal = PtyChat(server.url, tmp_path)
        await terminal.until("› ")
        terminal.type("\x03")
        assert await terminal.exit_code() == 130
    assert "Traceback" not in terminal.seen


def test_once_without_a_text_is_refused(tmp_path):
    done = ngx("chat", "--once", " ", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (2, "ngx: --once needs a text to ask\n")
