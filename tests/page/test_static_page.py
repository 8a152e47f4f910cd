"""The web page as it is served: what a browser is told, and that its plain files fit together without a build step."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from app.api import page
from app.api.page import STATIC

MODULES = sorted(STATIC.glob("*.js"))
TEXTS = {path.name: path.read_text("utf-8") for path in sorted(STATIC.glob("[!.]*.*"))}

_IMPORT = re.compile(r'import (?:\{([^}]*)\}|\* as \w+) from "\./([\w-]+\.js)"')
_EXPORT = re.compile(r"^export (?:async )?(?:function\*?|class|const) (\w+)", re.MULTILINE)
_MESSAGE_KEY = re.compile(r"^  (\w+):", re.MULTILINE)


@pytest.fixture(scope="module")
def client() -> TestClient:
    served = FastAPI()
    page.install(served)
    return TestClient(served)


@pytest.mark.parametrize("path", ["/", *(f"/static/{name}" for name in TEXTS)])
def test_policy_stands_on_every_file(client: TestClient, path: str) -> None:
    """Every file of the page forbids other sites, inline code and guessing of types."""
    response = client.get(path)
    assert response.status_code == 200
    policy = response.headers["content-security-policy"]
    assert policy.startswith("default-src 'self';")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["referrer-policy"] == "no-referrer"
    assert response.headers["cache-control"] == "no-cache"


def test_unchanged_file_keeps_its_policy(client: TestClient) -> None:
    """A browser that asks again gets 304, with the policy."""
    first = client.get("/static/app.js")
    again = client.get("/static/app.js", headers={"If-None-Match": first.headers["etag"]})
    assert again.status_code == 304
    assert again.headers["content-security-policy"] == first.headers["content-security-policy"]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_modules_are_served_as_javascript(client: TestClient, path: Path) -> None:
    """A browser that guesses no types takes every module for one."""
    assert client.get(f"/static/{path.name}").headers["content-type"].startswith("text/javascript")


def test_nothing_comes_from_elsewhere() -> None:
    """No file of the page names another site; an SVG's namespace is a name, not an address."""
    for name, text in TEXTS.items():
        assert not re.search(r"(?:https?:)?//[\w-]+\.\w", text.replace("http://www.w3.org/2000/svg", "")), name


def test_no_inline_code() -> None:
    """The markup has no script, style or handler of its own."""
    inline = r"<style|<script(?![^>]*\ssrc=)|\sstyle=|\son\w+=|javascript:"
    assert not re.search(inline, TEXTS["index.html"])


def test_files_that_the_markup_names_exist(client: TestClient) -> None:
    """The page finds its icon, styles and modules relative to its own address, also below a proxy's prefix."""
    for address in re.findall(r'\s(?:href|src)="([^"]+)"', TEXTS["index.html"]):
        assert address.startswith("static/")
        assert client.get(f"/{address}").status_code == 200, address


def test_text_never_becomes_markup() -> None:
    """No module makes markup or code from strings: what a document or a model says stays text."""
    forbidden = re.compile(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|\beval\(|new Function")
    assert {path.name for path in MODULES if forbidden.search(path.read_text("utf-8"))} == set()


def test_imports_have_exports() -> None:
    """What a module imports from another one, that one exports."""
    for path in MODULES:
        for names, source in _IMPORT.findall(TEXTS[path.name]):
            exported = set(_EXPORT.findall(TEXTS[source]))
            assert {name.strip() for name in names.split(",") if name.strip()} <= exported, (path.name, source)


def test_languages_say_the_same_things() -> None:
    """English and Chinese have the same messages: all that the page asks for, and no more."""
    _, english, chinese = re.split(r"^const (?:en|zh) = ", TEXTS["messages.js"], flags=re.MULTILINE)
    keys = _MESSAGE_KEY.findall(english)
    assert keys == _MESSAGE_KEY.findall(chinese)
    asked_for = set(re.findall(r'data-(?:text|label|hint)="(\w+)"', TEXTS["index.html"]))
    asked_for.update(*(re.findall(r'\bsay\("(\w+)"', TEXTS[path.name]) for path in MODULES))
    assert set(keys) == asked_for | {"errors"}


def test_elements_that_modules_ask_for_exist() -> None:
    """Every id that a module looks up stands in the markup, once."""
    ids = re.findall(r'\sid="([\w-]+)"', TEXTS["index.html"])
    assert len(ids) == len(set(ids))
    for path in MODULES:
        assert set(re.findall(r'byId\("([\w-]+)"\)', TEXTS[path.name])) <= set(ids), path.name
