import pytest

from ngx_agents.app.config import all_settings
from ngx_agents.app.setting import MASK, mask_password


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://ana:p%40ss@host:5432/db", f"postgresql://ana:{MASK}@host:5432/db"),
        ("http://u:a@b@host", f"http://u:{MASK}@host"),
        ("http://user@host", "http://user@host"),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("plain:text@here", "plain:text@here"),
    ],
)
def test_only_the_password_of_an_address_is_masked(url, shown):
    assert mask_password(url) == shown


def test_names_are_unique_over_all_settings():
    for names in (
        [one.name for one in all_settings()],
        [name for one in all_settings() for name in one.env],
        [one.flag for one in all_settings() if one.flag],
    ):
        assert len(names) == len(set(names))


def test_what_is_expected_is_said_in_words():
    expected = {one.name: one.expected for one in all_settings()}
    assert expected["server.port"] == "a whole number from 0 to 65535"
    assert expected["server.drain_s"] == "a number from 0 to 3600"
    assert expected["vertex.project"] == "a text"
    assert expected["auth.mode"] == "api_key, jwt or none"
