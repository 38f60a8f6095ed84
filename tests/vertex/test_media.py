from __future__ import annotations

import pytest

from ngx_agents.errors import ModelRequestError
from ngx_agents.vertex.content import Media
from ngx_agents.vertex.media import BEGINNINGS, MediaLimits, check, check_size

LIMITS = MediaLimits(max_inline_bytes=100, max_request_bytes=1000)
GOOD = {
    "image/png": b"\x89PNG\r\n\x1a\n....",
    "image/jpeg": b"\xff\xd8\xff\xe0....",
    "image/webp": b"RIFF....WEBPVP8 ",
    "image/heic": b"\0\0\0\x18ftypheic....",
    "image/heif": b"\0\0\0\x18ftypmif1....",
    "application/pdf": b"%PDF-1.7\n",
    "text/plain": "señor".encode(),
}


def test_every_allowed_type_has_an_example() -> None:
    assert GOOD.keys() == BEGINNINGS.keys()


@pytest.mark.parametrize("mime_type", GOOD)
def test_data_passes_as_its_own_type_only(mime_type: str) -> None:
    check(Media(mime_type=mime_type, data=GOOD[mime_type]), LIMITS)
    for other, data in {**GOOD, "image/gif": b"GIF89a", "empty": b"", "html": b"<html>"}.items():
        is_kin = {other, mime_type} <= {"image/heic", "image/heif"}
        if other != mime_type and not is_kin and not (mime_type == "text/plain" and is_readable(data)):
            with pytest.raises(ModelRequestError):
                check(Media(mime_type=mime_type, data=data), LIMITS)


def is_readable(data: bytes) -> bool:
    return data.isascii() and data != b"" and b"\0" not in data


@pytest.mark.parametrize("mime_type", ["image/gif", "image/svg+xml", "text/html", "", "IMAGE/PNG", "application/zip"])
def test_other_types_are_refused(mime_type: str) -> None:
    with pytest.raises(ModelRequestError):
        check(Media(mime_type=mime_type, data=GOOD["image/png"]), LIMITS)


def test_size_bound_is_inclusive() -> None:
    data = GOOD["image/png"].ljust(100, b".")
    check(Media(mime_type="image/png", data=data), LIMITS)
    with pytest.raises(ModelRequestError, match="100 bytes"):
        check(Media(mime_type="image/png", data=data + b"."), LIMITS)


def test_request_bound_is_inclusive() -> None:
    assert check_size(b"x" * 1000, LIMITS)
    with pytest.raises(ModelRequestError, match="1000 bytes"):
        check_size(b"x" * 1001, LIMITS)


@pytest.mark.parametrize("uri", ["gs://bucket/photo.png", "https://example.com/photo.png?x=1"])
def test_addresses_that_can_be_fetched_pass(uri: str) -> None:
    check(Media(mime_type="image/png", uri=uri), LIMITS)


@pytest.mark.parametrize(
    "uri",
    [
        "http://example.com/a.png",
        "file:///etc/passwd",
        "gs://bucket",
        "gs://bucket/",
        "gs:///photo.png",
        "https://",
        "https://user:secret@example.com/a.png",
        "https://[::1/a.png",
        "https://example.com/a b.png",
        "https://example.com/a\n.png",
        "data:image/png;base64,AA==",
        "",
        "https://example.com/" + "a" * 3000,
    ],
)
def test_other_addresses_are_refused_and_not_quoted(uri: str) -> None:
    with pytest.raises(ModelRequestError) as raised:
        check(Media(mime_type="image/png", uri=uri), LIMITS)
    assert len(uri) < 10 or uri not in str(raised.value)


def test_media_has_either_data_or_an_address() -> None:
    with pytest.raises(ModelRequestError):
        check(Media(mime_type="image/png"), LIMITS)
    with pytest.raises(ModelRequestError):
        check(Media(mime_type="image/png", data=GOOD["image/png"], uri="gs://b/o"), LIMITS)


def test_repr_does_not_show_the_data() -> None:
    assert "secret" not in repr(Media(mime_type="text/plain", data=b"secret"))
