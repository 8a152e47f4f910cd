"""Who may ask: everyone on loopback without keys; with keys, only who has one."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator

import pytest
from fastapi import FastAPI

from app.store.keys import create_key, revoke_key
from tests.api.serving import Service, problem, serving, settings_in
from tests.waiting import wait_until

KEYS = ("first-key", "schlüssel-密钥")


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A server with two keys of the operator's own, one of them not ASCII."""
    settings = settings_in(tmp_path_factory.mktemp("guarded"), api_keys=",".join(KEYS))
    with serving(settings, worker=False) as service:
        yield service


def status(service: Service, authorization: bytes | str, path: str = "/documents") -> int:
    value = authorization if isinstance(authorization, bytes) else authorization.encode()
    return service.http.get(path, headers={"Authorization": value}).status_code


def routes(app: FastAPI) -> list[tuple[str, str]]:
    """Every method and path of the OpenAPI document, with some value for each parameter."""
    return [
        (method.upper(), re.sub(r"{[^}]*}", "x", path))
        for path, methods in app.openapi()["paths"].items()
        for method in methods
    ]


def test_only_health_and_readiness_are_open(guarded: Service) -> None:
    """Without a key every route is 401, unknown ones and the page too; only `/health` and `/ready` answer."""
    assert guarded.http.get("/health").status_code == 200
    assert guarded.http.get("/ready").status_code == 200
    others = [route for route in routes(guarded.app) if route[1] not in ("/health", "/ready")]
    assert len(others) > 15
    others += [("GET", path) for path in ("/", "/docs", "/openapi.json", "/nothing", "/static/index.html", "/health/")]
    for method, path in [*others, ("GET", "//health"), ("GET", "/ready/../documents"), ("GET", "/%68ealth/x")]:
        response = guarded.http.request(method, path)
        error = problem(response, 401)
        assert (error["type"], error["code"]) == ("authentication_error", "invalid_api_key"), path
        assert "Bearer" in response.headers["WWW-Authenticate"]


@pytest.mark.parametrize("key", KEYS)
def test_a_key_opens(guarded: Service, key: str) -> None:
    """A key opens as a bearer token and as a browser's password, whatever its characters are."""
    assert status(guarded, f"Bearer {key}") == 200
    assert status(guarded, f"bearer   {key}") == 200
    assert status(guarded, b"Basic " + base64.b64encode(f"anyone:{key}".encode())) == 200


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer",
        "Bearer wrong",
        "Bearer first-key2",
        "Bearer first-ke",
        "Token first-key",
        "first-key",
        "Basic first-key",
        "Basic " + base64.b64encode(b"first-key").decode(),
        "Basic " + base64.b64encode(b"first-key:wrong").decode(),
        b"Basic \xff\xfe",
        b"Bearer \xff\xfe\x80",
        "Bearer schlüssel-密钥".encode("gb18030", "replace"),
        b"Basic " + base64.b64encode(b"x:\xff\xfe"),
        "Bearer " + "x" * 8000,
    ],
    ids=repr,
)
def test_what_is_no_key_does_not_open(guarded: Service, authorization: bytes | str) -> None:
    """A wrong key, a part of one, another scheme, or bytes that are no text: 401, never an error."""
    assert status(guarded, authorization) == 401


def test_a_key_of_the_database_opens_until_it_is_revoked(guarded: Service) -> None:
    """A key that another process makes counts within seconds, and one that it revokes no longer does."""
    database = guarded.app.state.services.core.database
    with database.write() as connection:
        key_id, secret = create_key(connection, "laptop", 0.0)
    wait_until(lambda: status(guarded, f"Bearer {secret}") == 200, 10, "the new key to open")
    with database.write() as connection:
        revoke_key(connection, key_id, 1.0)
    wait_until(lambda: status(guarded, f"Bearer {secret}") == 401, 10, "the revoked key to close")


def test_another_sites_page_may_not_change_anything(service: Service) -> None:
    """A browser that is made to post here by a page of the internet is refused; a page of ours is not."""
    note = {"text": "A note from a page."}
    refused = service.http.post("/documents", json=note, headers={"Sec-Fetch-Site": "cross-site"})
    assert problem(refused, 403)["type"] == "permission_error"
    assert service.http.get("/documents", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 200
    assert service.http.post("/documents", json=note, headers={"Sec-Fetch-Site": "same-origin"}).status_code == 202
