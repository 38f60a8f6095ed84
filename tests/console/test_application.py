from __future__ import annotations

import gzip

import pytest

from ngx_agents.console.application import SECURITY, Console, create_console
from tests.console.asgi import ask


@pytest.fixture(scope="module")
def console() -> Console:
    return create_console()


def release_of(page: bytes) -> str:
    return page.split(b"/static/", 1)[1].split(b"/", 1)[0].decode()


async def test_the_page_is_html_and_asks_before_it_is_reused(console):
    reply = await ask(console, "/")
    assert reply.status == 200
    assert reply.headers["content-type"] == "text/html; charset=utf-8"
    assert reply.headers["cache-control"] == "no-cache"
    assert int(reply.headers["content-length"]) == len(reply.body)
    assert b"{{" not in reply.body


@pytest.mark.parametrize("path", ["/", "/static/js/app.js", "/static/nothing.js", "/elsewhere"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
async def test_every_answer_carries_the_security_headers(console, path, method):
    reply = await ask(console, path, method)
    for name, value in SECURITY:
        assert reply.headers[name.decode()] == value.decode()


async def test_the_policy_allows_no_other_origin_and_nothing_inline(console):
    policy = dict(
        part.split(" ", 1) for part in (await ask(console, "/")).headers["content-security-policy"].split("; ")
    )
    assert policy["default-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    assert not {"script-src", "style-src", "connect-src"} & policy.keys()
    assert "unsafe" not in str(policy)


@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        ("js/app.js", "text/javascript; charset=utf-8"),
        ("vendor/markdown-it/markdown-it.esm.min.mjs", "text/javascript; charset=utf-8"),
        ("css/tokens.css", "text/css; charset=utf-8"),
        ("favicon.svg", "image/svg+xml"),
        ("vendor/dompurify/LICENSE", "text/plain; charset=utf-8"),
    ],
)
async def test_each_file_has_its_content_type(console, path, content_type):
    reply = await ask(console, f"/static/{path}")
    assert (reply.status, reply.headers["content-type"]) == (200, content_type)


async def test_a_file_of_this_release_may_be_kept_for_ever(console):
    release = release_of((await ask(console, "/")).body)
    reply = await ask(console, f"/static/{release}/js/app.js")
    assert reply.headers["cache-control"] == "public, max-age=31536000, immutable"


async def test_a_page_of_another_release_gets_todays_files_but_may_not_keep_them(console):
    reply = await ask(console, "/static/0123456789abcdef/js/app.js")
    assert (reply.status, reply.headers["cache-control"]) == (200, "no-cache")


async def test_the_release_changes_with_any_byte_of_any_file(tmp_path):
    (tmp_path / "index.html").write_text('<script src="/static/{{release}}/a.js"></script>')
    (tmp_path / "a.js").write_text("1")
    before = release_of((await ask(create_console(tmp_path), "/")).body)
    (tmp_path / "a.js").write_text("2")
    assert release_of((await ask(create_console(tmp_path), "/")).body) != before


@pytest.mark.parametrize("given", ["{etag}", "W/{etag}", '"other", {etag}', "*"])
async def test_a_known_entity_tag_is_answered_without_a_body(console, given):
    etag = (await ask(console, "/")).headers["etag"]
    reply = await ask(console, "/", if_none_match=given.format(etag=etag))
    assert (reply.status, reply.body) == (304, b"")
    assert reply.headers["etag"] == etag


async def test_another_entity_tag_gets_the_file(console):
    assert (await ask(console, "/", if_none_match='"stale"')).status == 200


async def test_a_client_that_takes_gzip_gets_fewer_bytes_of_the_same_file(console):
    plain = await ask(console, "/static/js/turn.js")
    zipped = await ask(console, "/static/js/turn.js", accept_encoding="br, gzip;q=0.8")
    assert zipped.headers["content-encoding"] == "gzip"
    assert gzip.decompress(zipped.body) == plain.body
    assert len(zipped.body) < len(plain.body) / 2
    assert zipped.headers["etag"] == "W/" + plain.headers["etag"]


@pytest.mark.parametrize("offer", ["", "identity", "gzip;q=0", "gzip; q=0.0", "br"])
async def test_a_client_that_takes_no_gzip_gets_none(console, offer):
    assert "content-encoding" not in (await ask(console, "/static/js/turn.js", accept_encoding=offer)).headers


async def test_head_has_the_headers_of_get_and_no_body(console):
    get, head = await ask(console, "/"), await ask(console, "/", "HEAD")
    assert (head.status, head.headers, head.body) == (200, get.headers, b"")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
async def test_other_methods_are_refused(console, method):
    reply = await ask(console, "/", method)
    assert (reply.status, reply.headers["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize(
    "path",
    [
        "/static/../application.py",
        "/static/js/../../application.py",
        "/static//etc/passwd",
        "/static/..%2fapplication.py",
        "/static/js\\..\\..\\application.py",
        "/static/",
        "/static",
        "/static/js",
        "/index.html",
        "//",
    ],
)
async def test_no_path_leads_out_of_the_folder(console, path):
    assert (await ask(console, path)).status == 404


async def test_hidden_files_and_unknown_types_are_not_served(tmp_path):
    (tmp_path / "index.html").write_text("x")
    (tmp_path / ".secret.js").write_text("x")
    (tmp_path / "key.pem").write_text("x")
    app = create_console(tmp_path)
    assert (await ask(app, "/static/.secret.js")).status == 404
    assert (await ask(app, "/static/key.pem")).status == 404
