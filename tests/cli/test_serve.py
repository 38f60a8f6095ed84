import signal
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from ngx_agents.vertex.local_model import is_installed
from tests.cli.command import ngx, ngx_here
from tests.cli.pty_chat import PtyChat
from tests.cli.running_server import running_server
from tests.emulator_process import start_emulator


def chat_once(cwd, url, text, **variables):
    return ngx("chat", "--url", url, "--once", text, cwd=cwd, **variables)


def test_a_fresh_server_answers_and_ends_quietly_on_ctrl_c(tmp_path):
    with running_server(tmp_path) as (process, url):
        done = chat_once(tmp_path, url, "Quiero un plan de entrenamiento de 3 días")
        process.send_signal(signal.SIGINT)
        assert process.wait(15) == 130
        assert process.stderr.read() == ""
    assert done.returncode == 0
    assert "Semana 1" in done.stdout
    assert "— template · elite_training_strategist —" in done.stderr
    assert "▸ TrainingPlan: " in done.stderr


def test_what_is_taken_is_told_in_one_line(tmp_path):
    with running_server(tmp_path) as (_, url):
        port = str(urlsplit(url).port)
        same_port = ngx("serve", "--port", port, "--data-dir", "other", cwd=tmp_path)
        same_data = ngx("serve", "--port", "0", "--data-dir", "data", cwd=tmp_path)  # with all optional parts
    assert (same_port.returncode, same_port.stdout) == (1, "")
    assert same_port.stderr.startswith(f"ngx: port {port} on 127.0.0.1 is in use: ")
    assert "--port or NGX_PORT" in same_port.stderr
    assert (same_data.returncode, same_data.stdout) == (1, "")
    assert same_data.stderr.startswith("ngx: another server has ")
    assert same_data.stderr.count("\n") == 1


def test_a_key_made_beside_a_running_server_opens_it_and_sigterm_ends_it_with_0(tmp_path):
    with running_server(tmp_path, "--auth", "api_key") as (process, url):
        without = chat_once(tmp_path, url, "hola")
        made = ngx_here("keys", "create", "--user", "ana", "--data-dir", "data", cwd=tmp_path)
        with_key = chat_once(tmp_path, url, "hola", NGX_API_KEY=made.stdout.strip())
        process.terminate()
        assert process.wait(15) == 0
    assert (without.returncode, without.stdout) == (1, "")
    assert "NGX_API_KEY" in without.stderr
    assert with_key.returncode == 0
    assert with_key.stdout


async def test_a_chat_outlives_a_server_that_is_killed_in_the_middle_of_an_answer(tmp_path):
    with start_emulator(chunks=30, chunk_gap_ms=30) as model_url:
        with running_server(tmp_path, NGX_VERTEX_BASE_URL=model_url) as (process, url):
            chat = PtyChat(url, tmp_path)
            await chat.until("› ")
            chat.type("How do I log my weight?\n")
            await chat.until("You asked")
            process.kill()
            process.wait(10)
        with running_server(tmp_path, port=urlsplit(url).port, NGX_VERTEX_BASE_URL=model_url):
            await chat.until("— model · ")
            await chat.until("› ")
            chat.type("/quit\n")
            assert await chat.exit_code() == 0
    assert chat.seen.count("You asked") == 1


@pytest.mark.skipif(not is_installed(), reason="the extra `local` is not installed (make local)")
def test_the_extras_model_answers_a_simple_question_and_ends_with_the_server(tmp_path):
    with running_server(tmp_path, NGX_LOCAL_BUILTIN="auto") as (process, url):
        for _ in range(20):  # until it has read its weights
            done = chat_once(tmp_path, url, "Tell me something about the moon")
            if "— local" in done.stderr:
                break
        assert "— local · smollm2" in done.stderr
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0
    assert children
    assert not any(Path(f"/proc/{child}").exists() for child in children)
