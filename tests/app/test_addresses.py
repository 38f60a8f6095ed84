import pytest

from ngx_agents.app.addresses import advertised, advertised_worker
from ngx_agents.app.config import load_config


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


@pytest.mark.parametrize(
    ("listening", "told", "reached"),
    [
        (("127.0.0.1", 8000), None, "http://127.0.0.1:9001"),
        (("::1", 8000), None, "http://[::1]:9001"),
        (("0.0.0.0", 8000), None, None),
        (("0.0.0.0", 8000), "https://pod-7.ngx:8000/", "https://pod-7.ngx:9001"),
    ],
)
def test_a_worker_is_reached_at_the_same_host_on_a_port_of_its_own(listening, told, reached):
    environ = {} if told is None else {"NGX_ADVERTISE": told}
    assert advertised_worker(load_config(environ=environ).config, listening, 9001) == reached
