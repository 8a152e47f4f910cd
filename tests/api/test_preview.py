"""How a file would be cut: the same as when it is stored, and nothing is stored."""

from __future__ import annotations

import contextlib
import os
import socket
from itertools import pairwise
from pathlib import Path
from typing import Any

import anyio
import httpx
import psutil
import pytest
from starlette.testclient import TestClient

from app.config import ParseLimits
from app.errors import DocumentTooExpensive, EmbedderUnavailable
from app.main import create_app
from app.media_types import MediaType
from app.preview import CountTokens, Previewer
from tests.api.serving import LIMIT_BYTES, Service, problem, settings_in
from tests.ingest.sample_files import pdf
from tests.waiting import wait_until

HANDBOOK = "# Dome\n\n" + "The dome closes at 15 m/s. " * 40 + "\n\n# Nights\n\n" + "夜班从九点开始，到六点结束。" * 40


def preview(service: Service, content: bytes | str, name: str = "a.md", **fields: Any) -> httpx.Response:
    data = content if isinstance(content, bytes) else content.encode()
    return service.http.post("/chunks/preview", files={"file": (name, data)}, data=fields)


def stored(service: Service, document_id: str) -> list[dict[str, Any]]:
    found = service.http.get(f"/documents/{document_id}/chunks", params={"limit": 1000}).json()["chunks"]
    return [{name: value for name, value in chunk.items() if name != "chunk_id"} for chunk in found]


@pytest.mark.parametrize(
    "content", [HANDBOOK.encode(), pdf([["1 Leave", "Fifteen days."], ["Until March."]])], ids=["markdown", "pdf"]
)
def test_a_preview_is_what_will_be_stored(service: Service, collection: str, content: bytes) -> None:
    """The same chunks, pages and warnings as after an upload, and before it nothing is there."""
    name = "a.pdf" if content.startswith(b"%PDF") else "a.md"
    blobs = {path.name for path in service.settings.blobs_dir.rglob("*") if path.is_file()}
    response = preview(service, content, name, collection=collection)
    assert response.status_code == 200, response.text
    shown = response.json()
    assert shown.keys() == {"filename", "media_type", "pages", "warnings", "chunks"}
    assert {path.name for path in service.settings.blobs_dir.rglob("*") if path.is_file()} == blobs
    assert service.http.get("/documents", params={"collection": collection}).json()["documents"] == []
    document = service.add(name, content, collection=collection)
    assert shown["chunks"] == stored(service, document["id"])
    for field in ("filename", "media_type", "pages", "warnings"):
        assert shown[field] == document[field]


def test_other_sizes_can_be_tried(service: Service) -> None:
    """`chunk_tokens` and `chunk_overlap_tokens` replace the settings for this one preview; zero is a size."""
    usual = preview(service, HANDBOOK).json()["chunks"]
    small = preview(service, HANDBOOK, chunk_tokens=40, chunk_overlap_tokens=0).json()["chunks"]
    assert len(small) > len(usual)
    assert max(chunk["tokens"] for chunk in small) <= 40
    assert all(before["end"] <= after["start"] for before, after in pairwise(small))


def test_a_collection_has_its_own_sizes(service: Service) -> None:
    """A collection's sizes hold for previews and for what is stored."""
    name = service.create_collection("small-chunks", chunk_tokens=40, chunk_overlap_tokens=0)
    shown = preview(service, HANDBOOK, collection=name).json()["chunks"]
    assert max(chunk["tokens"] for chunk in shown) <= 40
    assert stored(service, service.add("a.md", HANDBOOK, collection=name)["id"]) == shown
    assert service.http.get(f"/collections/{name}").json()["settings"]["chunk_tokens"] == 40


def test_warnings_are_shown(service: Service) -> None:
    """What the parser has to say is said before anything is stored."""
    assert preview(service, "Before\u200b after.").json()["warnings"] == ["Invisible characters were removed."]


@pytest.mark.parametrize(
    ("name", "content", "status", "code"),
    [
        ("locked.pdf", pdf([["Secret."]], password="open"), 422, "password_protected"),
        ("cut.pdf", pdf([["The dome closes."]])[:400], 422, "unreadable_document"),
        ("spaces.txt", b" \n\t\n", 422, "no_text"),
        ("program.exe", b"MZ\x90\x00\x03" + bytes(200), 415, "unsupported_media_type"),
        ("large.txt", b"x" * (LIMIT_BYTES + 1), 413, "payload_too_large"),
        ("empty.txt", b"", 400, "empty_file"),
    ],
)
def test_bad_files_are_refused(service: Service, name: str, content: bytes, status: int, code: str) -> None:
    """With the same codes as uploads and failed documents have."""
    assert problem(preview(service, content, name), status)["code"] == code
    assert list((service.settings.blobs_dir / "incoming").iterdir()) == []


@pytest.mark.parametrize(
    ("fields", "status", "param"),
    [
        ({"collection": "nowhere"}, 404, "collection"),
        ({"chunk_tokens": "5"}, 422, "chunk_tokens"),
        ({"chunk_tokens": "many"}, 422, "chunk_tokens"),
        ({"chunk_overlap_tokens": "-1"}, 422, "chunk_overlap_tokens"),
        ({"colour": "red"}, 422, "colour"),
    ],
    ids=str,
)
def test_bad_fields_are_named(service: Service, fields: dict[str, str], status: int, param: str) -> None:
    """A field that cannot be right is named."""
    assert problem(preview(service, "Words.", **fields), status)["param"] == param


def test_a_preview_is_of_one_file(service: Service) -> None:
    """None, two, or no form at all are refused."""
    two = [("file", ("a.txt", b"One.")), ("file", ("b.txt", b"Two."))]
    assert problem(service.http.post("/chunks/preview", files=two), 400)["param"] == "file"
    problem(service.http.post("/chunks/preview", files={"collection": (None, "default")}), 400)
    problem(service.http.post("/chunks/preview", json={"text": "x"}), 415)


def counting(texts: Any) -> list[int]:
    return [len(text.split()) for text in texts]


async def request(previewer: Previewer, path: Path, count_tokens: CountTokens = counting) -> Any:
    return await previewer.preview(
        path,
        filename=path.name,
        media_type=MediaType.TEXT,
        count_tokens=count_tokens,
        chunk_tokens=50,
        chunk_overlap_tokens=0,
    )


def show(previewer: Previewer, path: Path, count_tokens: CountTokens = counting) -> Any:
    return anyio.run(request, previewer, path, count_tokens)


@pytest.fixture
def endless(tmp_path: Path) -> Any:
    path = tmp_path / "endless.txt"
    os.mkfifo(path)
    descriptor = os.open(path, os.O_RDWR)
    yield path
    os.close(descriptor)


def previews() -> list[int]:
    """The preview processes below this one, those included that have ended and whose end nobody has taken note of."""
    found = []
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if child.status() == psutil.STATUS_ZOMBIE or "ingest.preview" in " ".join(child.cmdline()):
                found.append(child.pid)
    return found


def test_limits_hold(endless: Path) -> None:
    """A file that takes too long fails with the parser's own reason, and leaves no process."""
    with pytest.raises(DocumentTooExpensive, match="longer than 1 s"):
        show(Previewer(ParseLimits(seconds=1)), endless)
    wait_until(lambda: not previews(), what="the processes to go")


def test_whoever_leaves_ends_it(endless: Path) -> None:
    """Cancelling a preview kills its process, and with it the parser."""
    previewer = Previewer(ParseLimits())

    async def leave() -> None:
        with anyio.move_on_after(1.5):
            await request(previewer, endless)

    anyio.run(leave)
    wait_until(lambda: not previews(), what="the processes to go")


def test_without_a_tokenizer(tmp_path: Path) -> None:
    """What counting raises is raised, and the process ends."""

    def unavailable(_: Any) -> list[int]:
        raise EmbedderUnavailable

    path = tmp_path / "a.txt"
    path.write_text("Words.")
    with pytest.raises(EmbedderUnavailable):
        show(Previewer(ParseLimits()), path, unavailable)
    wait_until(lambda: not previews(), what="the processes to go")


def test_without_a_model_it_is_503(tmp_path: Path) -> None:
    """Tokens are counted by the embedder's tokenizer: while it is not there, try again later."""
    settings = settings_in(tmp_path).model_copy(update={"embedding_model": str(tmp_path)})
    with TestClient(create_app(settings)) as client:
        response = client.post("/chunks/preview", files={"file": ("a.txt", b"Words.")})
    assert problem(response, 503)["code"] == "embedder_unavailable"


def test_a_client_that_leaves_leaves_nothing(service: Service) -> None:
    """A connection that closes before the preview is there takes its temporary file with it."""
    host, _, port = service.url.removeprefix("http://").partition(":")
    body = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\nWords.\r\n--b--\r\n'
    head = (
        "POST /chunks/preview HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    incoming = service.settings.blobs_dir / "incoming"
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(head.encode() + body)
        wait_until(lambda: list(incoming.iterdir()), what="the preview to begin")
    wait_until(lambda: not list(incoming.iterdir()), what="the temporary file to go")
