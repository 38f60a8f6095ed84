from __future__ import annotations

import json
from pathlib import Path

import pytest

from ngx_agents.clock import SystemClock
from ngx_agents.errors import ConfigError
from ngx_agents.state import commands as c
from ngx_agents.state.ids import SHARDS, Ids, shard_of
from ngx_agents.state.model import Owner
from ngx_agents.state.operations import ShardPlace
from ngx_agents.state.sharded_map import ShardMap, read_shard_file
from ngx_agents.state.sharded_routes import EVERYWHERE, shard_for

BASE = ["a"] * 128 + ["b"] * 128


def said(shard: int, epoch: int, state: str, peer: str) -> ShardPlace:
    return ShardPlace(shard=shard, epoch=epoch, state=state, peer=peer)  # type: ignore[arg-type]


def test_a_shard_is_where_the_configuration_says_until_it_moves_and_then_where_the_highest_epoch_says() -> None:
    places = ShardMap(BASE)
    assert (places.place_of(7), places.epoch_of(7)) == ("a", 0)
    places.hear("b", [said(7, 1, "arriving", "a")])
    assert (places.place_of(7), places.is_arriving(7)) == ("a", True)
    for state in ("copying", "frozen"):
        places.hear("a", [said(7, 1, state, "b")])
        assert places.place_of(7) == "a"
    places.hear("a", [said(7, 1, "gone", "b")])
    assert (places.place_of(7), places.epoch_of(7)) == ("b", 1)
    places.hear("b", [said(7, 1, "serving", "a")])
    assert (places.place_of(7), places.is_arriving(7)) == ("b", False)
    places.hear("a", [said(7, 3, "serving", "b")])  # it went back meanwhile, and b has not been heard since
    assert (places.place_of(7), places.epoch_of(7)) == ("a", 3)
    assert places.place_of(8) == "a"


def test_a_server_that_is_lost_keeps_nobody_from_finding_what_was_moved_away_from_it() -> None:
    places = ShardMap(BASE)
    places.hear("b", [said(7, 1, "serving", "a")])
    assert places.place_of(7) == "b"


def test_a_shard_has_arrived_when_its_server_itself_says_so() -> None:
    places = ShardMap(BASE)
    assert places.has_arrived(7, "a")
    places.hear("a", [said(7, 1, "gone", "b")])
    assert (places.place_of(7), places.has_arrived(7, "b")) == ("b", False)
    places.hear("b", [said(7, 1, "serving", "a")])
    assert places.has_arrived(7, "b")
    places.hear("a", [said(7, 2, "serving", "b")])
    assert places.has_arrived(7, "a")


def test_every_command_and_question_has_a_place() -> None:
    ids, ana = Ids(SystemClock()), Owner("acme", "ana")
    for kind in (*c.Command.__args__, *c.Question.__args__):
        if issubclass(kind, EVERYWHERE) or kind in (
            c.PutKey,
            c.FindKey,
            c.TouchKey,
            c.RevokeKey,
            c.EndKey,
            c.TryElect,
            c.GetTime,
            c.PutControl,
            c.ForgetRevocations,
            c.WriteAudit,
            c.ListControls,
            c.Audited,
            c.TakeBudget,
            c.GiveBudget,
            c.PutSchedule,
            c.CreateWebhook,
        ):
            continue
        fields = kind.__struct_fields__
        assert {"owner", "conversation_id", "turn_id"} & set(fields), kind
    assert shard_for(c.GetProfile(owner=ana)) == shard_of("ana")
    lane = ids.new("c", 9)
    assert shard_for(c.ReleaseLane(conversation_id=lane, epoch=1)) == 9
    assert shard_for(c.Checkpoints(turn_id="t_zz")) == 0
    assert shard_for(c.FindKey(digest=b"\xfe...")) == 254
    assert shard_for(c.RevokeKey(digest=b"\xfe...", now=1.0)) == shard_for(c.EndKey(digest=b"\xfe...", at=1.0)) == 254
    assert shard_for(c.ListDead()) is None
    schedule = c.Schedule(
        id=ids.new("s", 9), owner=ana, at="07:30", weekdays=(1,), zone="UTC", text="x", conversation_id=lane,
        created_at=0.0, next_at=0.0,
    )  # fmt: skip
    assert shard_for(c.PutSchedule(schedule=schedule, max_schedules=1)) == shard_of("ana")
    webhook = c.Webhook(
        id=ids.new("w", 9), owner=ana, url="https://a.example/", body=b"", events=("turn.failed",), created_at=0.0
    )
    assert shard_for(c.CreateWebhook(webhook=webhook, max_webhooks=1)) == shard_of("ana")


def written(path: Path, **changes: object) -> Path:
    told = {
        "servers": {"a": "postgresql://u:s3cr3t@h/a", "b": "postgresql://h/b"},
        "places": {"0-127": "a", "128-255": "b"},
    }
    path.write_text(json.dumps(told | changes))
    return path


def test_the_file_lays_every_shard_out(tmp_path: Path) -> None:
    places, urls = read_shard_file(written(tmp_path / "shards.json", places={"0-9": "a", "10": "b", "11-255": "a"}))
    assert [places.place_of(shard) for shard in (9, 10, 11, SHARDS - 1)] == ["a", "b", "a", "a"]
    assert sorted(urls) == ["a", "b"]


def test_a_server_may_have_standbys(tmp_path: Path) -> None:
    servers = {"a": "postgresql://h/a", "b": {"url": "postgresql://h/b", "replicas": ["postgresql://r/b"]}}
    _, found = read_shard_file(written(tmp_path / "shards.json", servers=servers))
    assert (found["a"].url, found["a"].replicas) == ("postgresql://h/a", ())
    assert (found["b"].url, found["b"].replicas) == ("postgresql://h/b", ("postgresql://r/b",))


@pytest.mark.parametrize(
    "changes",
    [
        {"places": {"0-254": "a"}}, {"places": {"0-255": "c"}}, {"places": {"0-255": "a", "7": "b"}},
        {"places": {"0-256": "a"}}, {"places": {"x": "a"}}, {"places": {"9-3": "a"}}, {"places": 3}, {"more": 1},
        {"servers": {"A b": "postgresql://u:s3cr3t@h/x"}, "places": {"0-255": "A b"}},
    ],
)  # fmt: skip
def test_a_file_that_is_wrong_is_one_clear_line_without_its_secrets(tmp_path: Path, changes: dict[str, object]) -> None:
    with pytest.raises(ConfigError) as refused:
        read_shard_file(written(tmp_path / "shards.json", **changes))
    assert "\n" not in str(refused.value)
    assert "s3cr3t" not in str(refused.value)


def test_no_file_and_no_json_are_told_alike(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.json", tmp_path / "broken.json"):
        if path.name == "broken.json":
            path.write_bytes(b"\xff{")
        with pytest.raises(ConfigError, match=path.name):
            read_shard_file(path)
