"""Conversations of the caller."""

from __future__ import annotations

from pathlib import Path

from tests.gateway.serving import client


async def test_conversations_are_made_listed_by_page_and_deleted(tmp_path: Path) -> None:
    async with client(tmp_path) as api:
        made = []
        for number in range(3):
            status, info = await api.call("POST", "/v1/conversations", json={"title": f"Talk {number}"})
            assert (status, info["title"], info["messages"]) == (201, f"Talk {number}", 0)
            made.append(info["id"])
        _, first = await api.call("GET", "/v1/conversations?limit=2")
        _, second = await api.call("GET", "/v1/conversations", params={"limit": "2", "cursor": first["next"]})
        assert [each["id"] for each in first["items"] + second["items"]] == made[::-1]
        assert second["next"] is None
        status, _ = await api.call("DELETE", f"/v1/conversations/{made[0]}")
        assert status == 204
        assert (await api.call("GET", f"/v1/conversations/{made[0]}"))[0] == 404
        assert (await api.call("GET", f"/v1/conversations/{made[1]}"))[1]["title"] == "Talk 1"


async def test_messages_show_who_said_what(tmp_path: Path) -> None:
    async with client(tmp_path) as api:
        conversation_id = await api.conversation()
        await api.say(conversation_id, "say hola", agent="owl")
        _, page = await api.call("GET", f"/v1/conversations/{conversation_id}/messages")
    user, assistant = page["items"]
    assert (user["role"], user["agent"], user["text"], user["source"]) == ("user", None, "say hola", None)
    assert (assistant["role"], assistant["agent"], assistant["text"]) == ("assistant", "owl", "hola")
    assert assistant["source"] == "model"
    assert user["seq"] < assistant["seq"]
    assert set(user) == {
        "id", "seq", "role", "agent", "text", "created_at", "source", "turn_id", "rung", "model", "degraded",
    }  # fmt: skip
    assert assistant["turn_id"] == user["turn_id"]
    assert (assistant["rung"], assistant["degraded"]) == ("model", False)


async def test_a_cursor_that_is_not_ours_is_refused(tmp_path: Path) -> None:
    async with client(tmp_path) as api:
        conversation_id = await api.conversation()
        for path in ("/v1/conversations", f"/v1/conversations/{conversation_id}/messages", "/v1/me/logs"):
            status, problem = await api.call("GET", path, params={"cursor": "garbage"})
            assert (status, problem["code"]) == (400, "invalid_request"), path


async def test_a_busy_conversation_is_not_deleted(tmp_path: Path) -> None:
    async with client(tmp_path) as api:
        conversation_id = await api.conversation()
        await api.say(conversation_id, "wait", headers={"Prefer": "respond-async"})
        status, problem = await api.call("DELETE", f"/v1/conversations/{conversation_id}")
    assert (status, problem["code"]) == (409, "conversation_busy")
