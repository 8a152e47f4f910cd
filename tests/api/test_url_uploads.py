"""Documents by URL: what is fetched becomes a document like any other, and what may not be is a clear 4xx."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address

import httpx
import pytest

from app.fetching import Fetcher
from tests.api.serving import LIMIT_BYTES, Service, problem, serving, settings_in
from tests.web import Site, site


@pytest.fixture(scope="module")
def fetching(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A server that may fetch, and from loopback: where the tests' own web is."""
    settings = settings_in(tmp_path_factory.mktemp("fetching"), max_upload_bytes=LIMIT_BYTES, fetch_urls=True)
    loopback = ip_address("127.0.0.1")
    with serving(settings, make_fetcher=lambda: Fetcher(is_allowed=lambda address: address == loopback)) as service:
        yield service


@pytest.fixture
def web() -> Iterator[Site]:
    with site() as found:
        yield found


def post(service: Service, web: Site, path: str, **fields: object) -> httpx.Response:
    return service.http.post("/documents", json={"url": f"http://127.0.0.1:{web.port}{path}", **fields})


def test_a_url_becomes_a_document(fetching: Service, web: Site) -> None:
    """Name from the path, type from the content, the URL among the metadata; the same bytes again are known."""
    web.file("/rules/dome.md?v=2", b"# Dome\n\nThe dome closes at 15 m/s.", Content_Type="application/pdf")
    response = post(fetching, web, "/rules/dome.md?v=2", metadata={"year": 2024}, external_id="dome")
    assert response.status_code == 202, response.text
    (document,) = response.json()["documents"]
    assert (document["filename"], document["media_type"], document["external_id"]) == (
        "dome.md",
        "text/markdown",
        "dome",
    )
    url = f"http://127.0.0.1:{web.port}/rules/dome.md?v=2"
    assert document["metadata"] == {"source_url": url, "year": 2024}
    assert fetching.finished(document["id"])["status"] == "ready"
    (passage,) = fetching.search("When does the dome close?", filters={"source_url": url})
    assert passage["document_id"] == document["id"]
    assert post(fetching, web, "/rules/dome.md?v=2").status_code == 200


def test_metadata_of_ones_own_stays(fetching: Service, web: Site) -> None:
    """A `source_url` of the client's is not replaced, and a new version without metadata keeps the old ones."""
    web.file("/a.txt", b"The first words.")
    response = post(fetching, web, "/a.txt", metadata={"source_url": "mine"}, external_id="own")
    assert response.json()["documents"][0]["metadata"] == {"source_url": "mine"}
    web.file("/a.txt", b"The second words.")
    (document,) = post(fetching, web, "/a.txt", external_id="own").json()["documents"]
    assert (document["version"], document["metadata"]) == (2, {"source_url": "mine"})


@pytest.mark.parametrize(
    ("disposition", "filename"),
    [
        ('attachment; filename="Bericht 2024.txt"', "Bericht 2024.txt"),
        ("attachment; filename*=UTF-8''%E6%89%8B%E5%86%8C.txt", "手册.txt"),
        ('attachment; filename="../../etc/passwd"', "passwd"),
        ("inline", "a.txt"),
    ],
)
def test_the_servers_name_comes_first(fetching: Service, web: Site, disposition: str, filename: str) -> None:
    """Content-Disposition names the file, for display only."""
    web.file("/a.txt", f"Words of {disposition}.".encode(), Content_Disposition=disposition)
    assert post(fetching, web, "/a.txt").json()["documents"][0]["filename"] == filename


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("/missing.txt", None, 400, "url_unreachable"),
        ("/large.txt", b"x" * (LIMIT_BYTES + 1), 413, "payload_too_large"),
        ("/empty.txt", b"", 400, "empty_file"),
        ("/program.exe", b"MZ\x90\x00\x03" + bytes(200), 415, "unsupported_media_type"),
        ("/login.pdf", b"Please log in.", 415, "unsupported_media_type"),
    ],
)
def test_what_cannot_be_taken(
    fetching: Service, web: Site, path: str, body: bytes | None, status: int, code: str
) -> None:
    """What is not there, too large, empty or of a wrong kind is refused as an upload is, and leaves nothing."""
    if body is not None:
        web.file(path, body)
    assert problem(post(fetching, web, path), status)["code"] == code
    assert list((fetching.settings.blobs_dir / "incoming").iterdir()) == []


def test_where_it_may_not_go(fetching: Service, web: Site) -> None:
    """An address inside, also behind a redirect, is `url_not_allowed`."""
    web.redirect("/inside", "http://169.254.169.254/latest/meta-data/")
    error = problem(post(fetching, web, "/inside"), 400)
    assert (error["code"], error["param"]) == ("url_not_allowed", "url")
    assert problem(fetching.http.post("/documents", json={"url": "file:///etc/passwd"}), 400)["param"] == "url"


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"url": "http://127.0.0.1:1/", "text": "x"}, 422, "text"),
        ({"url": ""}, 422, "url"),
        ({"url": 7}, 422, "url"),
        ({"url": "http://127.0.0.1:1/", "collection": "nowhere"}, 404, "collection"),
        ({"url": "http://127.0.0.1:1/", "metadata": {"a": [{}]}}, 400, "metadata"),
    ],
    ids=str,
)
def test_bodies_that_are_refused(fetching: Service, body: dict[str, object], status: int, param: str) -> None:
    """Either a text or a URL; nothing is fetched for a request that cannot be right."""
    assert problem(fetching.http.post("/documents", json=body), status)["param"] == param


def test_it_is_off_by_default(service: Service, web: Site) -> None:
    """Without the operator's word nothing is fetched, and the refusal names the setting."""
    error = problem(post(service, web, "/a.txt"), 403)
    assert error["code"] == "fetching_disabled"
    assert "FOOTNOTE_FETCH_URLS" in error["message"]
    assert web.asked == []
