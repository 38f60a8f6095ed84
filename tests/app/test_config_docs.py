from pathlib import Path

from ngx_agents.app.config import all_settings
from ngx_agents.app.config_docs import markdown

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"


def test_the_page_is_what_the_settings_make():
    assert PAGE.read_text(encoding="utf-8") == markdown(), "run: ngx config --markdown > docs/configuration.md"


def test_every_setting_has_a_line_of_help_that_ends_like_a_sentence():
    assert [one.name for one in all_settings() if not one.help.endswith(".")] == []


def test_every_setting_is_on_the_page():
    page = markdown()
    assert [one.name for one in all_settings() if f"| `{one.field}` |" not in page] == []
