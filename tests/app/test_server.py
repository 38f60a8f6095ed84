import pytest

from ngx_agents.app.config import load_config
from ngx_agents.app.server import advertised


@pytest.mark.parametrize(
    ("listening", "told", "reached"),
    [
        (("127.0.0.1", 8000), None, "http://127.0.0.1:8000"),
        (("::1", 8000), None, "http://[::1]:8000"),
        (("0.0.0.0", 8000), None, None),
        (("::", 8000), None, None),
        (("0.0.0.0", 8000), "http://10.0.0.5:8000/", "http://10.0.0.5:8000"),
    ],
)
def test_others_are_told_an_address_that_they_can_reach_or_none(listening, told, reached):
    environ = {} if told is None else {"NGX_ADVERTISE": told}
    assert advertised(load_config(environ=environ).config, listening) == reached
