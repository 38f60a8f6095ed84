"""The caller's own data: profile, logs, export, erasure."""

from __future__ import annotations

from pathlib import Path

from ngx_agents.clock import SystemClock
from tests.gateway.serving import client


async def test_a_profile_is_replaced_whole_and_read_back(tmp_path: Path) -> None:
    async with client(tmp_path) as api:
        assert await api.call("GET", "/v1/me/profile") == (200, {})
        await api.call("PUT", "/v1/me/profile", json={"name": "Ana", "age": 34})
        profile = {"age": 35, "allergies": ["nuez"], "weight_kg": 61.5}
        assert await api.call("PUT", "/v1/me/profile", json=profile) == (200, profile)
        assert await api.call("GET", "/v1/me/profile") == (200, profile)


async def test_a_profile_out_of_bounds_is_refused(tmp_path: Path) -> None:
    async with client(tmp_path) as api:
        for wrong, field in (
            ({"age": 10**30}, "age"),
            ({"age": -1}, "age"),
            ({"height_cm": 3}, "height_cm"),
            ({"goals": ["x"] * 51}, "goals"),
            ({"name": "x" * 201}, "name"),
            ({"colour": "red"}, "colour"),
        ):
            status, problem = await api.call("PUT", "/v1/me/profile", json=wrong)
            assert (status, problem["field"]) == (400, field)
        assert await api.call("GET", "/v1/me/profile") == (200, {})


async def test_logs_are_kept_newest_first_and_filtered(tmp_path: Path) -> None:
    async with client(tmp_path) as api:
        for at, kg in ((1000, 82.0), (2000, 81.5)):
            status, reply = await api.call("POST", "/v1/me/logs", json={"kind": "weight", "at": at, "data": {"kg": kg}})
            assert (status, reply["added"]) == (201, True)
        await api.call("POST", "/v1/me/logs", json={"kind": "sleep", "data": {"hours": 7}})
        _, weights = await api.call("GET", "/v1/me/logs?kind=weight")
        _, recent = await api.call("GET", "/v1/me/logs?kind=weight&since=2000")
        for query, field in (("kind=mood", "kind"), ("since=yesterday", "since"), ("limit=0", "limit")):
            status, problem = await api.call("GET", f"/v1/me/logs?{query}")
            assert (status, problem["field"]) == (400, field)
    assert [entry["data"]["kg"] for entry in weights["items"]] == [81.5, 82.0]
    assert [entry["at"] for entry in recent["items"]] == [2000]


async def test_a_log_sent_twice_with_one_key_is_kept_once(tmp_path: Path) -> None:
    async with client(tmp_path) as api:
        entry, key = {"kind": "weight", "data": {"kg": 80}}, {"Idempotency-Key": "w-1"}
        first = await api.call("POST", "/v1/me/logs", json=entry, headers=key)
        again = await api.call("POST", "/v1/me/logs", json=entry, headers=key)
        other = await api.call("POST", "/v1/me/logs", json={"kind": "weight", "data": {"kg": 90}}, headers=key)
        _, page = await api.call("GET", "/v1/me/logs")
    assert (first[0], again[0]) == (201, 200)
    assert (other[0], other[1]["code"]) == (409, "idempotency_conflict")
    assert again[1] == {"id": first[1]["id"], "added": False}
    assert len(page["items"]) == 1


async def test_all_that_is_stored_is_exported_and_erased(tmp_path: Path) -> None:
    async with client(tmp_path) as api:
        await api.call("PUT", "/v1/me/profile", json={"name": "Ana"})
        await api.call("POST", "/v1/me/logs", json={"kind": "weight", "data": {"kg": 80}})
        conversation_id = await api.conversation()
        await api.say(conversation_id, "say something memorable")
        status, exported = await api.call("GET", "/v1/me/export")
        assert status == 200
        assert "something memorable" in str(exported)
        status, reply = await api.call("DELETE", "/v1/me")
        assert status == 200
        assert sum(reply["erased"].values()) >= 4
        assert await api.call("GET", "/v1/me/profile") == (200, {})
        assert (await api.call("GET", "/v1/conversations"))[1]["items"] == []
        assert "memorable" not in str((await api.call("GET", "/v1/me/export"))[1])


async def test_an_artifact_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    async with client(tmp_path) as api:
        for artifact_id in ("a_00" + "0" * 26, "nonsense"):
            assert (await api.call("GET", f"/v1/me/artifacts/{artifact_id}"))[0] == 404


async def test_what_has_not_happened_yet_is_not_logged(tmp_path: Path) -> None:
    async with client(tmp_path) as api:
        ahead = {"kind": "weight", "at": SystemClock().now_s() + 30 * 86_400, "data": {"kg": 80}}
        status, problem = await api.call("POST", "/v1/me/logs", json=ahead)
    assert (status, problem["field"]) == (400, "at")


async def test_consents_are_recorded_with_their_version_and_the_latest_holds(tmp_path: Path) -> None:
    async with client(tmp_path) as api:
        assert await api.call("GET", "/v1/me/consents") == (200, {"items": []})
        for version, is_given in (("2026-01", True), ("2026-11", False)):
            body = {"version": version, "is_given": is_given}
            status, consent = await api.call("PUT", "/v1/me/consents/health", json=body)
            assert (status, consent["kind"], consent["is_given"]) == (200, "health", is_given)
        _, listed = await api.call("GET", "/v1/me/consents")
        _, exported = await api.call("GET", "/v1/me/export")
    assert [(one["kind"], one["version"], one["is_given"]) for one in listed["items"]] == [("health", "2026-11", False)]
    assert "2026-01" in str(exported)


async def test_a_consent_that_says_nothing_clear_is_refused(tmp_path: Path) -> None:
    async with client(tmp_path) as api:
        for kind, body, field in (
            ("Health", {"version": "1", "is_given": True}, "kind"),
            ("marketing", {"version": "1", "is_given": True}, "kind"),
            ("health", {"version": "1"}, "is_given"),
            ("health", {"version": "", "is_given": True}, "version"),
            ("health", {"version": "1", "is_given": "yes"}, "is_given"),
        ):
            status, problem = await api.call("PUT", f"/v1/me/consents/{kind}", json=body)
            assert (status, problem["code"]) == (400, "invalid_request"), body
            assert field in (problem.get("field"), *problem["detail"].replace("`", " ").split())
        assert await api.call("GET", "/v1/me/consents") == (200, {"items": []})
