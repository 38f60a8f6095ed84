"""What must hold of the pages' sources, told without a browser."""

from __future__ import annotations

import hashlib
import re

import pytest

from ngx_agents.console.application import FOLDER

OURS = sorted(path for path in FOLDER.rglob("*") if path.is_file() and "vendor" not in path.parts)
SCRIPTS = [path for path in OURS if path.suffix == ".js"]
MAX_LINES = 250


def name(path):
    return str(path.relative_to(FOLDER))


@pytest.mark.parametrize("path", OURS, ids=name)
def test_no_source_file_is_longer_than_the_house_allows(path):
    assert len(path.read_text().splitlines()) <= MAX_LINES


@pytest.mark.parametrize("path", OURS, ids=name)
def test_no_source_names_another_origin(path):
    text = path.read_text().replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"""["'(]\s*(https?:)?//[\w.]""", text)


def test_the_page_has_no_inline_script_style_or_handler():
    page = (FOLDER / "index.html").read_text()
    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", page)
    assert all(re.search(r"\ssrc=", tag) for tag in re.findall(r"<script[^>]*>", page))


@pytest.mark.parametrize("path", SCRIPTS, ids=name)
def test_every_import_leads_to_a_file(path):
    for target in re.findall(r"""from\s+"([^"]+)";""", path.read_text()):
        assert target.startswith("."), target
        assert (path.parent / target).resolve().is_file(), target


@pytest.mark.parametrize("path", SCRIPTS, ids=name)
def test_no_script_parses_html_or_code_from_text(path):
    assert not re.search(
        r"\.(inner|outer)HTML|insertAdjacentHTML|document\.write|\beval\(|new Function", path.read_text()
    )


def keys_of(text):
    return re.findall(r"^  (\w+):", text, re.MULTILINE)


def test_both_languages_have_the_same_words():
    en = keys_of((FOLDER / "js/words/en.js").read_text())
    es = keys_of((FOLDER / "js/words/es.js").read_text())
    of_fields = keys_of((FOLDER / "js/words/fields.js").read_text())
    assert sorted(en) == sorted(es)
    assert len(set(en)) == len(en) > 100
    assert all(of_fields.count(key) == 2 and key not in en for key in of_fields)


def test_every_word_that_the_page_asks_for_exists():
    page = (FOLDER / "index.html").read_text()
    asked = set(re.findall(r'data-say="(\w+)"', page)) | set(re.findall(r'data-label="[\w-]+:(\w+)"', page))
    for path in SCRIPTS:
        text = path.read_text()
        asked |= set(re.findall(r'\bsay: "(\w+)"', text)) | set(re.findall(r'\bsay\([^,()]+, "(\w+)"', text))
    assert asked <= {key for file in ("en", "fields") for key in keys_of((FOLDER / f"js/words/{file}.js").read_text())}


def test_vendored_files_are_the_ones_their_table_names():
    rows = re.findall(r"`([\w./-]+\.mjs)`.*?`([0-9a-f]{64})`", (FOLDER / "vendor/README.md").read_text())
    files = {str(path.relative_to(FOLDER / "vendor")): path for path in FOLDER.rglob("vendor/**/*.mjs")}
    assert {name for name, _ in rows} == files.keys()
    for file, digest in rows:
        assert hashlib.sha256(files[file].read_bytes()).hexdigest() == digest
        assert (files[file].parent / "LICENSE").is_file()


def schemes():
    light, dark = (FOLDER / "css/tokens.css").read_text().split("prefers-color-scheme: dark", 1)
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", light))
    return {"light": colours, "dark": colours | dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", dark))}


def luminance(colour):
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one, other):
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


TEXT_ON = {
    "ink": ["paper", "panel", "raised", "accent-wash", "question", "warm-wash", "danger-wash"],
    "soft": ["paper", "panel", "raised", "accent-wash", "question", "warm-wash", "danger-wash"],
    "accent": ["paper", "raised", "panel"],
    "accent-ink": ["accent"],
    "warm": ["warm-wash", "paper", "raised"],
    "danger": ["danger-wash", "raised"],
    "paper": ["danger"],
}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    ("text", "ground"), [(text, ground) for text, grounds in TEXT_ON.items() for ground in grounds]
)
def test_text_stands_out_from_its_ground_as_wcag_aa_asks(scheme, text, ground):
    colours = schemes()[scheme]
    assert contrast(colours[text], colours[ground]) >= 4.5


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_edges_of_fields_stand_out_from_their_ground(scheme):
    colours = schemes()[scheme]
    assert contrast(colours["line-strong"], colours["raised"]) >= 3
    assert contrast(colours["line-strong"], colours["paper"]) >= 3
