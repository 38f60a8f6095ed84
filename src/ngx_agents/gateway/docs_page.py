"""An OpenAPI document as one HTML page: no script, no font, no request to anywhere."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

import msgspec

STYLE = """
:root{color-scheme:light dark}
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
h2{margin-top:2.5rem;text-transform:capitalize}
details{border:1px solid #8886;border-radius:.5rem;margin:.5rem 0;padding:.5rem .75rem}
summary{cursor:pointer}
code,pre{font:14px/1.4 ui-monospace,monospace}
pre{overflow-x:auto;background:#8881;padding:.75rem;border-radius:.5rem}
.method{display:inline-block;min-width:4.5rem;font-weight:700}
td,th{text-align:left;padding:.15rem .75rem .15rem 0;vertical-align:top}
"""
STYLE_HASH = "sha256-" + base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
Node = Mapping[str, Any]


def page_of(document: Node) -> bytes:
    """The page, UTF-8."""
    info = document["info"]
    body = "".join(_sections(document))
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(info["title"])}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head><body>'
        f"<h1>{escape(info['title'])} <small>{escape(info['version'])}</small></h1>"
        f"<p>{escape(info['description'])}</p>"
        f'<p>The document itself: <a href="/openapi.json">/openapi.json</a></p>{body}</body></html>'
    ).encode()


def _sections(document: Node) -> Iterator[str]:
    by_tag: dict[str, list[str]] = {}
    for path, methods in document["paths"].items():
        for method, entry in methods.items():
            by_tag.setdefault(entry["tags"][0], []).append(_operation(path, method, entry))
    for tag, operations in by_tag.items():
        yield f"<section><h2>{escape(tag)}</h2>{''.join(operations)}</section>"
    schemas = "".join(_schema(name, schema) for name, schema in document["components"]["schemas"].items())
    yield f"<section><h2>schemas</h2>{schemas}</section>"


def _operation(path: str, method: str, entry: Node) -> str:
    parameters = "".join(
        f"<tr><td><code>{escape(each['name'])}</code></td><td>{escape(each['in'])}</td>"
        f"<td>{escape(each.get('description', ''))}</td></tr>"
        for each in entry["parameters"]
    )
    table = f"<table><tr><th>parameter</th><th>in</th><th></th></tr>{parameters}</table>" if parameters else ""
    body = f"<p>Body: {_types(entry['requestBody'])}</p>" if "requestBody" in entry else ""
    answers = "".join(
        f"<tr><td><code>{escape(status)}</code></td><td>{_types(response)}</td></tr>"
        for status, response in entry["responses"].items()
    )
    return (
        f'<details><summary><span class="method">{method.upper()}</span><code>{escape(path)}</code> '
        f"— {escape(entry['summary'])}</summary>{table}{body}"
        f"<table><tr><th>status</th><th>answer</th></tr>{answers}</table></details>"
    )


def _types(holder: Node) -> str:
    """Media types with links to their schemas."""
    return ", ".join(
        f"<code>{escape(media_type)}</code> {_reference(content['schema'])}"
        for media_type, content in holder.get("content", {}).items()
    )


def _reference(schema: Node) -> str:
    name = schema.get("$ref", "").rpartition("/")[2]
    return f'<a href="#{escape(name)}">{escape(name)}</a>' if name else ""


def _schema(name: str, schema: Node) -> str:
    text = msgspec.json.format(msgspec.json.encode(schema), indent=2).decode()
    about = escape(schema.get("description", ""))
    return (
        f'<details id="{escape(name)}"><summary><code>{escape(name)}</code> — {about}</summary>'
        f"<pre>{escape(text)}</pre></details>"
    )
