from __future__ import annotations

import io
import json

from ngx_agents.telemetry.log import configure, event_log


def test_an_event_is_one_json_line_with_its_fields() -> None:
    stream = io.StringIO()
    configure("info", stream)
    log = event_log("turns")
    log.info("lane.reclaimed", turn_id="t_1", attempts=2)
    log.debug("not.shown")
    try:
        raise RuntimeError("broken\nin two lines")
    except RuntimeError:
        log.exception("turn.broke")
    configure("warning")
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["event"] for line in lines] == ["lane.reclaimed", "turn.broke"]
    assert (lines[0]["room"], lines[0]["turn_id"], lines[0]["attempts"]) == ("turns", "t_1", 2)
    assert "RuntimeError" in lines[1]["traceback"]
