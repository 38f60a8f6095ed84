from pathlib import Path

import pytest

from ngx_agents.app.config import load_config, read_config
from ngx_agents.app.foreign import remote_settings
from ngx_agents.errors import ConfigError

SECRET = "s3cr3t-token"
REMOTE = '[agents.remote.weather]\ncard = "https://h/card.json"\n'
MCP = '[mcp.files]\ncommand = ["files-server"]\ntools = ["read"]\nagents = ["progress_tracker"]\n'


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "ngx.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[agents.remote]\ncard = "https://h"', "[agents.remote] needs a name: write [agents.remote.<name>]"),
        ("mcp = 1", "[mcp] needs a name: write [mcp.<name>]"),
        ('[agents.remote."a b"]\ncard = "https://h"', "a name is made of small letters"),
        ('[agents.remote.Weather]\ncard = "https://h"', "a name is made of small letters"),
        (REMOTE + "crad = 1", "unknown setting [agents.remote.weather] crad ({file}:3): did you mean card?"),
        (REMOTE + "timeout_s = 0", "[agents.remote.weather] timeout_s ({file}:3): expected a number from 0 to 600"),
        (REMOTE + "[agents]\nx = 1", "unknown section agents"),
        ("[agents.remote.weather]\ncard = 'ftp://h'", "[agents.remote.weather] card: expected an http:// or https://"),
        ("[agents.remote.weather]\n", "[agents.remote.weather] card: expected an http:// or https://"),
        (REMOTE + "origins = ['h']", "[agents.remote.weather] origins: expected http://… or https://…"),
        (MCP + "url = 'http://h'", "[mcp.files] needs either command or url"),
        ("[mcp.files]\nurl = 'h'\ntools = ['*']\nagents = ['a']", "[mcp.files] url: expected an http:// or https://"),
        ("[mcp.files]\nurl = 'http://h'", "[mcp.files] needs tools (names, or `*` for all) and agents"),
        ("".join(f"[mcp.m{number}]\nurl = 'http://h'\n" for number in range(65)), "65 sections, 64 are the most"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, message):
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load_config(path=path, environ={})
    assert message.format(file=path) in str(caught.value)


def test_a_variable_sets_what_a_section_of_the_file_has_and_is_masked(tmp_path):
    path = write(tmp_path, REMOTE + MCP)
    environ = {"NGX_AGENTS_REMOTE_WEATHER_TOKEN": SECRET, "NGX_MCP_FILES_TIMEOUT_S": "3"}
    loaded = load_config(path=path, environ=environ)
    assert loaded.config.remote_agents["weather"].token == SECRET
    assert loaded.config.mcp_servers["files"].timeout_s == 3.0
    assert ("agents.remote.weather.token", "••••••", "env NGX_AGENTS_REMOTE_WEATHER_TOKEN") in loaded.shown()
    assert ("agents.remote.weather.card", "https://h/card.json", f"{path}:2") in loaded.shown()
    assert SECRET not in str(loaded.shown()) + repr(loaded.config)


def test_a_variable_alone_makes_no_section():
    with pytest.raises(ConfigError, match="unknown variable NGX_AGENTS_REMOTE_WEATHER_CARD"):
        read_config(environ={"NGX_AGENTS_REMOTE_WEATHER_CARD": "https://h"})


def test_the_token_goes_where_the_section_says(tmp_path):
    path = write(tmp_path, REMOTE + f'token = "{SECRET}"\n')
    [one] = remote_settings(load_config(path=path, environ={}).config)
    assert one.headers == (("Authorization", f"Bearer {SECRET}"),)
    path = write(tmp_path, REMOTE + f'token = "{SECRET}"\nauth_header = "X-API-Key"\n')
    [one] = remote_settings(load_config(path=path, environ={}).config)
    assert one.headers == (("X-API-Key", SECRET),)
    assert (one.id, one.card_url) == ("weather", "https://h/card.json")
