from __future__ import annotations

import pytest

from ngx_agents.errors import ConfigError
from ngx_agents.vertex.endpoint import Endpoint, host_of, split_url
from ngx_agents.vertex.settings import VertexSettings


@pytest.mark.parametrize(
    ("location", "host"),
    [
        ("global", "aiplatform.googleapis.com"),
        ("us", "aiplatform.us.rep.googleapis.com"),
        ("eu", "aiplatform.eu.rep.googleapis.com"),
        ("europe-west1", "europe-west1-aiplatform.googleapis.com"),
    ],
)
def test_every_kind_of_location_has_its_host(location: str, host: str) -> None:
    assert host_of(location) == host
    assert Endpoint(VertexSettings(location=location), "p").origin == f"https://{host}"


def test_project_and_location_stand_in_the_path() -> None:
    endpoint = Endpoint(VertexSettings(location="eu"), "my:p/1")
    assert endpoint.model_path("gemini-3.8-flash", "countTokens") == (
        "/v1/projects/my%3Ap%2F1/locations/eu/publishers/google/models/gemini-3.8-flash:countTokens"
    )


def test_tuned_model_is_named_by_its_endpoint() -> None:
    path = Endpoint(VertexSettings(api_version="v1beta1"), "p").model_path("endpoints/12", "generateContent")
    assert path == "/v1beta1/projects/p/locations/global/endpoints/12:generateContent"


def test_base_url_may_have_a_path() -> None:
    endpoint = Endpoint(VertexSettings(base_url="http://proxy:9/vertex/"), None)
    assert (endpoint.origin, endpoint.model_path("m", "x")) == (
        "http://proxy:9",
        "/vertex/v1/publishers/google/models/m:x",
    )


def test_model_name_cannot_leave_its_place_in_the_path() -> None:
    path = Endpoint(VertexSettings(), "p").model_path("m?x=1#y z", "generateContent")
    assert path.endswith("/models/m%3Fx%3D1%23y%20z:generateContent")


@pytest.mark.parametrize("url", ["localhost:80", "ftp://host", "http://", "", "/path"])
def test_url_without_scheme_or_host_is_refused(url: str) -> None:
    with pytest.raises(ConfigError):
        split_url(url)
