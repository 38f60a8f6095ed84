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
    assert sorted(en) == sorted(es)
    assert len(set(en)) == len(en) > 100


def test_every_word_that_the_page_asks_for_exists():
    page = (FOLDER / "index.html").read_text()
    asked = set(re.findall(r'data-say="(\w+)"', page)) | set(re.findall(r'data-label="[\w-]+:(\w+)"', page))
    for path in SCRIPTS:
        text = path.read_text()
        asked |= set(re.findall(r'\bsay: "(\w+)"', text)) | set(re.findall(r'\bsay\([^,()]+, "(\w+)"', text))
    assert asked <= set(keys_of((FOLDER / "js/words/en.js").read_text()))


def test_vendored_files_are_the_ones_their_table_names():
    rows = re.findall(r"`([\w./-]+\.mjs)`.*?`([0-9a-f]{64})`", (FOLDER / "vendor/README.md").read_text())
    files = {str(path.relative_to(FOLDER / "vendor")): path for path in FOLDER.rglob("vendor/**/*.mjs")}
    assert {name for name, _ in rows} == files.keys()
    for file, digest in rows:
        assert hashlib.sha256(files[file].read_bytes()).hexdigest() == digest
        assert (files[file].parent / "LICENSE").is_file()
