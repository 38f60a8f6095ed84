"""Flags that are settings of yes or no need no value."""

from __future__ import annotations

import argparse

import pytest

from ngx_agents.cli.flags import add_config_flags, loaded_config


@pytest.mark.parametrize(
    ("words", "wanted"), [([], False), (["--with-test-agent"], True), (["--with-test-agent", "false"], False)]
)
def test_the_test_agent_is_asked_for_with_or_without_a_value(
    words: list[str], wanted: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    monkeypatch.chdir(str(tmp_path))
    parser = argparse.ArgumentParser()
    add_config_flags(parser)
    assert loaded_config(parser.parse_args(words)).config.a2a.test_agent is wanted
