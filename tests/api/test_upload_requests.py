"""Uploads over real HTTP: all of a request or nothing, whatever the client sends."""

from __future__ import annotations

import hashlib
import json
import resource
import select
import socket
import sys
from pathlib import Path

import pytest

from tests.api.serving import LIMIT_BYTES, Service, problem, serving, settings_in
from tests.ingest.sample_files import pdf
from tests.waiting import wait_until

DOCUMENT_FIELDS = {
    "id", "collection", "external_id", "filename", "media_type", "bytes", "sha256", "version", "status", "progress",
    "error", "pages", "chunks", "metadata", "warnings", "created_at", "updated_at",
}  # fmt: skip


def blobs(service: Service) -> set[str]:
    return {path.name for path in service.settings.blobs_dir.iterdir() if path.is_file()}


def address(service: Service) -> tuple[str, int]:
    host, _, port = service.url.removeprefix("http://").partition(":")
    return host, int(port)


def peak_bytes() -> int:
    """The most memory that this process, and so the server in it, has ever had."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def incoming(service: Service) -> list[Path]:
    return list((service.settings.blobs_dir / "incoming").iterdir())


def test_an_upload_is_accepted(service: Service, collection: str) -> None:
    """202 with every field of the document; then it becomes ready, and the same bytes again are a 200."""
    content = b"# Opening\n\nThe library opens at nine."
    response = service.upload(("hours.md", content), collection=collection, metadata='{"year": 2024}', external_id="h")
    assert response.status_code == 202
    (accepted,) = response.json()["documents"]
    assert accepted.keys() == DOCUMENT_FIELDS | {"duplicate"}
    assert accepted["sha256"] == hashlib.sha256(content).hexdigest()
    assert (accepted["filename"], accepted["media_type"], accepted["bytes"]) == ("hours.md", "text/markdown", 37)
    assert (accepted["version"], accepted["status"], accepted["duplicate"]) == (1, "queued", False)
    assert (accepted["collection"], accepted["external_id"], accepted["metadata"]) == (collection, "h", {"year": 2024})
    ready = service.finished(accepted["id"])
    assert ready.keys() == DOCUMENT_FIELDS
    assert (ready["status"], ready["error"], ready["chunks"]) == ("ready", None, 1)
    assert ready["progress"].keys() == {"stage", "done", "total"}
    again = service.upload(("other.md", content), collection=collection)
    assert again.status_code == 200
    assert again.json()["documents"] == [ready | {"duplicate": True}]


def test_several_files_are_one_request(service: Service, collection: str) -> None:
    """Every file becomes a document; one that is known already is marked, and the request is still 202."""
    service.add("a.txt", "The first note.", collection=collection)
    response = service.upload(("a.txt", "The first note."), ("b.txt", "The second note."), collection=collection)
    assert response.status_code == 202
    assert [(d["filename"], d["duplicate"]) for d in response.json()["documents"]] == [
        ("a.txt", True),
        ("b.txt", False),
    ]


@pytest.mark.parametrize(
    ("bad", "status"),
    [
        (("empty.txt", b""), 400),
        (("program.exe", b"MZ\x90\x00\x03" + bytes(200)), 415),
        (("not.pdf", b"Just words, no PDF."), 415),
        (("large.txt", b"x" * (LIMIT_BYTES + 1)), 413),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else str(value),
)
def test_all_of_a_request_or_nothing(service: Service, collection: str, bad: tuple[str, bytes], status: int) -> None:
    """One bad file among good ones: the request is refused and leaves no document and no blob."""
    before = blobs(service)
    response = service.upload(("good.txt", f"Good words for {collection}."), bad, collection=collection)
    assert problem(response, status)["param"] == "file"
    assert service.http.get("/documents", params={"collection": collection}).json()["documents"] == []
    assert blobs(service) == before
    assert incoming(service) == []


@pytest.mark.parametrize(
    ("fields", "status", "param"),
    [
        ({"metadata": "{"}, 400, "metadata"),
        ({"metadata": "[1]"}, 400, "metadata"),
        ({"metadata": '{"a": {"b": [{}]}}'}, 400, "metadata"),
        ({"metadata": '{"a": NaN}'}, 400, "metadata"),
        ({"metadata": json.dumps({"a": list(range(201))})}, 400, "metadata"),
        ({"collection": "nowhere"}, 404, "collection"),
        ({"collection": "../../etc"}, 404, "collection"),
        ({"external_id": "x" * 256}, 400, "external_id"),
    ],
    ids=str,
)
def test_a_bad_field_is_named(service: Service, fields: dict[str, str], status: int, param: str) -> None:
    """A field of the form that cannot be right is named in the error."""
    response = service.http.post("/documents", files={"file": ("a.txt", b"A field is wrong.")}, data=fields)
    assert problem(response, status)["param"] == param


def test_an_external_id_names_one_file(service: Service) -> None:
    """Two files cannot share a name of the client's own."""
    response = service.upload(("a.txt", "One."), ("b.txt", "Two."), external_id="x")
    assert problem(response, 400)["param"] == "external_id"


BOUNDARY = "multipart/form-data; boundary=b"
PART = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\nWords.'


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data", PART + b"\r\n--b--\r\n"),
        (BOUNDARY, b""),
        (BOUNDARY, PART),
        (BOUNDARY, PART + b"\r\n--b"),
        (BOUNDARY, b"--b--\r\n"),
        (BOUNDARY, b"no boundary anywhere"),
        (BOUNDARY, b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--\r\n"),
        (BOUNDARY, b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\nno filename\r\n--b--\r\n'),
        (BOUNDARY, b"--b\r\n" + b"X: y\r\n" * 10_000 + b"\r\nx\r\n--b--\r\n"),
        (BOUNDARY, b"--b\r\nX: " + b"y" * 200_000 + b"\r\n\r\nx\r\n--b--\r\n"),
        (BOUNDARY, b'--b\r\nContent-Disposition: form-data; name="metadata"\r\n\r\n' + b"x" * 1_100_000),
        (f"multipart/form-data; boundary={'b' * 300}", PART),
        ("multipart/form-data; boundary=\xff", PART),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_a_broken_form_is_refused(service: Service, content_type: str, body: bytes) -> None:
    """A form that is cut or malformed is 400 with a reason, and leaves nothing."""
    response = service.http.post("/documents", content=body, headers={"Content-Type": content_type.encode("latin-1")})
    problem(response, 400)
    assert incoming(service) == []


@pytest.mark.parametrize(
    ("disposition", "filename"),
    [
        ('filename="../../etc/passwd"', "passwd"),
        ('filename="C:\\\\Users\\\\me\\\\notes.txt"', "notes.txt"),
        ('filename="a\x01b\x7f.txt"', "ab.txt"),
        ('filename="手册.txt"', "手册.txt"),
        ("filename*=UTF-8''%E6%89%8B%E5%86%8C.txt", "手册.txt"),
        ("filename=\"plain.txt\"; filename*=UTF-8''caf%C3%A9.txt", "café.txt"),
        ("filename*=iso-8859-1'en'caf%E9.txt", "café.txt"),
        ("filename*=gbk''%CA%D6.txt", "手.txt"),
        ("filename*=UTF-8''..%2F..%2Fetc%2Fpasswd", "passwd"),
        ("filename*=nothing''%FF.txt", "�.txt"),
        ('filename="invoice\u202efdp.exe\u200b.txt"', "invoicefdp.exe.txt"),
        ("filename*=UTF-8''a%E2%80%AEb%F3%A0%81%81.txt", "ab.txt"),
        ('filename=""', "untitled"),
        ('filename="' + "n" * 300 + '.txt"', "n" * 255),
    ],
    ids=lambda value: repr(value)[:50],
)
def test_a_name_is_for_display_only(service: Service, collection: str, disposition: str, filename: str) -> None:
    """Names lose folders and control characters, keep their language, and never become part of a path."""
    part = f'--b\r\nContent-Disposition: form-data; name="file"; {disposition}\r\n\r\nWords for {collection}.\r\n'
    field = f'--b\r\nContent-Disposition: form-data; name="collection"\r\n\r\n{collection}\r\n--b--\r\n'
    response = service.http.post("/documents", content=(part + field).encode(), headers={"Content-Type": BOUNDARY})
    assert response.status_code == 202, response.text
    (document,) = response.json()["documents"]
    assert document["filename"] == filename
    download = service.http.get(f"/documents/{document['id']}/content")
    assert download.content == f"Words for {collection}.".encode()
    assert download.headers["Content-Disposition"].startswith("attachment")
    assert download.headers["X-Content-Type-Options"] == "nosniff"


def test_a_note_needs_no_file(service: Service, collection: str) -> None:
    """JSON with a text is a document, too."""
    note = {
        "text": "The dome closes at 15 m/s.",
        "title": "Dome",
        "collection": collection,
        "metadata": {"kind": "rule"},
    }
    response = service.http.post("/documents", json=note)
    assert response.status_code == 202
    (document,) = response.json()["documents"]
    assert (document["filename"], document["media_type"], document["metadata"]) == (
        "Dome",
        "text/plain",
        {"kind": "rule"},
    )
    assert service.finished(document["id"])["status"] == "ready"
    assert service.search("When does the dome close?", collection=collection)[0]["document_id"] == document["id"]
    assert service.http.post("/documents", json=note).status_code == 200


def test_a_note_has_a_limit(service: Service) -> None:
    """The limit of an upload holds for a text in JSON as well."""
    problem(service.http.post("/documents", json={"text": "x" * (LIMIT_BYTES + 1)}), 413)
    problem(service.http.post("/documents", json={"text": "x" * (LIMIT_BYTES + 2 * 1024 * 1024)}), 413)


def test_a_new_version_replaces_the_old(service: Service, collection: str) -> None:
    """New bytes under a known external id: from ready on, only the new words are found."""
    first = service.upload(("a.txt", "The dome is green."), collection=collection, external_id="dome").json()
    document_id = first["documents"][0]["id"]
    service.finished(document_id)
    second = service.upload(("a.txt", "The dome is copper."), collection=collection, external_id="dome")
    assert second.status_code == 202
    assert (second.json()["documents"][0]["id"], second.json()["documents"][0]["version"]) == (document_id, 2)
    assert service.finished(document_id)["status"] == "ready"
    assert [p["text"] for p in service.search("dome", collection=collection)] == ["The dome is copper."]
    assert service.http.get(f"/documents/{document_id}/text").json() == {
        "document_id": document_id,
        "version": 2,
        "text": "The dome is copper.",
    }


def test_a_client_that_leaves_leaves_nothing(service: Service) -> None:
    """A connection that closes in the middle of an upload leaves no temporary file."""
    head = f"POST /documents HTTP/1.1\r\nHost: x\r\nContent-Type: {BOUNDARY}\r\nContent-Length: 100000\r\n\r\n"
    with socket.create_connection(address(service)) as connection:
        connection.sendall(head.encode() + PART)
        wait_until(lambda: incoming(service), what="the upload to begin")
    wait_until(lambda: not incoming(service), what="the temporary file to go")


def test_an_endless_upload_is_refused_while_it_streams(tmp_path: Path) -> None:
    """Who would send 100 MB over a limit of 1 MB, without a length, hears 413 long before; memory stays flat."""
    piece = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    with (
        serving(settings_in(tmp_path, max_upload_bytes=1024 * 1024), worker=False) as service,
        socket.create_connection(address(service)) as connection,
    ):
        before = peak_bytes()
        head = f"POST /documents HTTP/1.1\r\nHost: x\r\nContent-Type: {BOUNDARY}\r\nTransfer-Encoding: chunked"
        connection.sendall(head.encode() + f"\r\n\r\n{len(PART):x}\r\n".encode() + PART + b"\r\n")
        sent = 0
        while sent < 100_000_000 and not select.select([connection], [], [], 0)[0]:
            connection.sendall(piece)
            sent += len(piece)
        assert connection.recv(4096).startswith(b"HTTP/1.1 413")
        assert sent < 50_000_000
        assert peak_bytes() - before < 30_000_000
        assert incoming(service) == []
        assert service.http.get("/health").status_code == 200


@pytest.mark.parametrize(
    ("name", "content", "code", "words"),
    [
        ("cut.pdf", pdf([["The dome closes."]])[:400], "unreadable_document", "damaged"),
        ("locked.pdf", pdf([["The dome closes."]], password="open"), "password_protected", "password"),
        ("blank.pdf", pdf([[]]), "no_text", "text"),
        ("spaces.txt", b" \n\t \n", "no_text", "text"),
        ("broken.docx", b"PK\x03\x04 word/ and then nothing", "unreadable_document", ""),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_bad_file_fails_with_a_reason(
    service: Service, collection: str, name: str, content: bytes, code: str, words: str
) -> None:
    """A file that cannot be read ends as failed, with a reason that a person understands; the next one works."""
    failed = service.add(name, content, collection=collection)
    assert failed["status"] == "failed"
    assert failed["error"]["code"] == code
    assert words in failed["error"]["message"]
    problem(service.http.get(f"/documents/{failed['id']}/text"), 404)
    assert service.add("good.txt", f"Good words after {name}.", collection=collection)["status"] == "ready"


def test_invalid_utf8_is_text_in_some_encoding(service: Service, collection: str) -> None:
    """Bytes that are not UTF-8 are read in the encoding that fits, and can be searched."""
    for name, text, encoding in (
        ("gb.txt", "观测站的圆顶在大风时关闭。值班员每晚记录天气。", "gb18030"),
        ("latin.txt", "Über den Dächern schließt die Kuppel früh, wenn der Wind auffrischt.", "latin-1"),
        ("mixed.txt", "The dome closes early when the wind rises.", "ascii"),
    ):
        content = text.encode(encoding) + (b" \xff\xfe\x80" if name == "mixed.txt" else b"")
        document = service.add(name, content, collection=collection)
        assert document["status"] == "ready", document
        read = service.http.get(f"/documents/{document['id']}/text").json()["text"]
        assert text[:20] in read
