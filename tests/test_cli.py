"""The command line against a server that speaks Footnote's API over real HTTP and remembers what it was asked."""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.__main__ import main
from app.client import read_events

PASSAGE = {
    "document_id": "doc_1",
    "version": 1,
    "chunk_id": "chk_1",
    "filename": "handbook.pdf",
    "page": 4,
    "headings": ["Observing", "The dome"],
    "start": 0,
    "end": 30,
    "text": "The dome closes at 15 m/s.",
    "score": 0.97,
    "scores": {"dense": 0.7, "lexical": 9.1, "rerank": None},
}
CITATION = {
    "marker": 1,
    "document_id": "doc_1",
    "version": 1,
    "filename": "handbook.pdf",
    "page": 4,
    "chunk_id": "chk_1",
    "start": 0,
    "end": 26,
    "quote": "The dome closes at 15 m/s.",
    "score": 1.0,
}
ANSWER = {
    "id": "ans_1",
    "answer": "The dome closes at 15 m/s. [1]",
    "answerable": True,
    "reason": None,
    "degraded": False,
    "mode": "extract",
    "citations": [CITATION],
}
NO_ANSWER = ANSWER | {"answer": "Your documents do not say.", "answerable": False, "citations": []}


@dataclass
class Request:
    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class FakeServer:
    """Answers each (method, path) as `answers` says: with (status, JSON), or with the raw bytes of a stream."""

    url: str = ""
    answers: dict[tuple[str, str], Callable[[Request], tuple[int, Any] | bytes]] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)

    def on(self, method: str, path: str, answer: Any, status: int = 200) -> None:
        if callable(answer):
            self.answers[method, path] = answer
        else:
            self.answers[method, path] = lambda _: answer if isinstance(answer, bytes) else (status, answer)

    def asked(self, method: str, path: str) -> list[Request]:
        return [each for each in self.requests if (each.method, each.path) == (method, path)]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeServer]:
    fake = FakeServer()

    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            url = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            request = Request(self.command, url.path, parse_qs(url.query), dict(self.headers), body)
            fake.requests.append(request)
            missing = {"error": {"message": f"There is nothing at {url.path}.", "code": "not_found"}}
            answer = fake.answers.get((self.command, url.path), lambda _: (404, missing))(request)
            status, content = (200, answer) if isinstance(answer, bytes) else (answer[0], encode(answer[1]))
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_DELETE = handle_any  # noqa: N815 - the names that http.server calls

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        fake.url = f"http://127.0.0.1:{http.server_port}"
        use_settings(monkeypatch, tmp_path, HOST="127.0.0.1", PORT=str(http.server_port))
        yield fake
        http.shutdown()
        thread.join()


def encode(content: Any) -> bytes:
    return b"" if content is None else json.dumps(content).encode()


def use_settings(monkeypatch: pytest.MonkeyPatch, folder: Path, **settings: str) -> None:
    """These settings and no others: neither this shell's nor those of a `.env`."""
    monkeypatch.chdir(folder)
    for name in [name for name in os.environ if name.startswith("FOOTNOTE_")]:
        monkeypatch.delenv(name)
    for name, value in settings.items():
        monkeypatch.setenv(f"FOOTNOTE_{name}", value)


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return int(ended.value.code or 0)


def stream(*events: tuple[str, Any]) -> bytes:
    return b"".join(f"event: {name}\ndata: {json.dumps(data)}\n\n".encode() for name, data in events)


def document(number: int, status: str = "ready", **more: Any) -> dict[str, Any]:
    return {
        "id": f"doc_{number}",
        "collection": "default",
        "filename": f"file{number}.txt",
        "bytes": 5,
        "version": 1,
        "status": status,
        "pages": None,
        "chunks": 2,
    } | more


def test_an_answer_is_printed_with_its_footnotes(server: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    """`ask` prints the streamed text, then for each footnote its file, page and quote."""
    parts = [("delta", {"text": "The dome closes "}), ("delta", {"text": "at 15 m/s. [1]"})]
    events = [("sources", {"passages": [PASSAGE]}), *parts, ("citation", CITATION), ("done", ANSWER)]
    server.on("POST", "/ask", b": keep-alive\n\n" + stream(*events))
    assert run("ask", "When does the dome close?", "--collection", "station", "--top-k", "3", "--mode", "extract") == 0
    printed = capsys.readouterr().out
    assert "The dome closes at 15 m/s. [1]\n" in printed
    assert "[1] handbook.pdf, page 4" in printed
    assert "“The dome closes at 15 m/s.”" in printed
    assert server.requests[0].json == {
        "question": "When does the dome close?",
        "collection": "station",
        "top_k": 3,
        "mode": "extract",
        "stream": True,
    }


def test_a_conversation_goes_on(server: FakeServer) -> None:
    """`ask --conversation` names the conversation, streamed or not; without it there is none."""
    server.on("POST", "/ask", stream(("done", ANSWER)))
    assert run("ask", "And when?", "--conversation", "domes") == 0
    server.on("POST", "/ask", ANSWER)
    assert run("ask", "And when?", "--conversation", "domes", "--json") == 0
    assert run("ask", "And when?", "--json") == 0
    assert [request.json.get("conversation_id") for request in server.requests] == ["domes", "domes", None]


def test_an_honest_no_names_the_nearest_passages(server: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    """Where the documents do not answer, the places that came nearest are shown."""
    events = [("sources", {"passages": [PASSAGE]}), ("delta", {"text": NO_ANSWER["answer"]}), ("done", NO_ANSWER)]
    server.on("POST", "/ask", stream(*events))
    assert run("ask", "Who was Caesar?") == 0
    assert "Your documents do not say.\n  Nearest: handbook.pdf, page 4" in capsys.readouterr().out


def test_unsupported_sentences_are_named(server: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    """A sentence that its source does not say is told below the answer, streamed or not."""
    answer = ANSWER | {
        "answer": "It closes at 15 m/s. [1] It is blue.",
        "sentences": [
            {"start": 0, "end": 20, "support": "supported"},
            {"start": 25, "end": 36, "support": "unsupported"},
        ],
    }
    for body, options in ((stream(("delta", {"text": "It"}), ("done", answer)), []), (answer, ["--no-stream"])):
        server.on("POST", "/ask", body)
        assert run("ask", "When?", *options) == 0
        printed = capsys.readouterr().out
        assert "Not supported by your documents: It is blue.\n" in printed
        assert "documents: It closes" not in printed


def test_a_strategy_is_asked_for(server: FakeServer) -> None:
    """`ask --strategy` says how passages are gathered, streamed or not."""
    server.on("POST", "/ask", stream(("done", ANSWER)))
    assert run("ask", "When, and why?", "--strategy", "multi") == 0
    server.on("POST", "/ask", ANSWER)
    assert run("ask", "When, and why?", "--strategy", "agent", "--json") == 0
    assert [request.json["strategy"] for request in server.requests] == ["multi", "agent"]


def test_json_is_the_servers_own(server: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    """`ask --json` prints the whole answer as the server sent it."""
    server.on("POST", "/ask", ANSWER | {"answer": "圆顶关闭。 [1]"})
    assert run("ask", "圆顶?", "--json") == 0
    printed = capsys.readouterr().out
    assert json.loads(printed)["answer"] == "圆顶关闭。 [1]"
    assert "圆顶关闭" in printed
    assert server.requests[0].json["stream"] is False


@pytest.mark.parametrize(
    ("events", "message"),
    [
        ([("error", {"error": {"message": "The language model stopped."}, "partial": True})], "model stopped"),
        ([], "too early"),
    ],
    ids=["error", "cut off"],
)
def test_a_broken_stream_is_a_failure(
    server: FakeServer, capsys: pytest.CaptureFixture[str], events: Sequence[tuple[str, Any]], message: str
) -> None:
    """An answer that does not end with `done` exits with 1 and says why."""
    server.on("POST", "/ask", stream(("delta", {"text": "The dome"}), *events))
    assert run("ask", "When?") == 1
    assert message in capsys.readouterr().err


def test_documents_cannot_steer_the_terminal(server: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    """Escape sequences in an answer, a quote or a file name do not reach the terminal."""
    evil = "\x1b]0;owned\x07\x9b2J[red]"
    answer = ANSWER | {"citations": [CITATION | {"quote": evil, "filename": evil}]}
    server.on("POST", "/ask", stream(("delta", {"text": evil}), ("done", answer)))
    assert run("ask", "When?") == 0
    printed = capsys.readouterr().out
    assert not re.search("[\x1b\x07\x9b]", printed)
    assert printed.count("[red]") == 3


def test_without_a_server_it_says_how_to_start_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No server: one line that names the address and the command, and exit code 2."""
    use_settings(monkeypatch, tmp_path, PORT="9")
    assert run("search", "dome") == 2
    printed = capsys.readouterr().err
    assert printed == "No Footnote server answers at http://127.0.0.1:9. Start one with: footnote serve\n"


def test_the_first_key_of_the_settings_is_sent(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """FOOTNOTE_API_KEYS gives the key, unless --api-key does."""
    monkeypatch.setenv("FOOTNOTE_API_KEYS", "first,second")
    server.on("GET", "/collections", {"collections": [{"name": "default"}]})
    run("collections", "list")
    run("collections", "list", "--api-key", "mine")
    assert [each.headers["Authorization"] for each in server.requests] == ["Bearer first", "Bearer mine"]


def test_the_servers_own_message_is_shown(server: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    """A refusal is one line with the server's message, and exit code 1."""
    server.on("POST", "/search", {"error": {"message": "There is no collection named 'x'."}}, status=404)
    assert run("search", "dome", "--collection", "x") == 1
    assert capsys.readouterr().err == "There is no collection named 'x'.\n"


def test_an_answer_that_is_not_footnotes_is_a_clear_error(
    server: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """A proxy's error page is named by its status."""
    server.on("POST", "/search", lambda _: (502, "<html>"))
    assert run("search", "dome") == 1
    assert capsys.readouterr().err == "The server answered 502 Bad Gateway.\n"


def test_search_prints_passages(server: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    """`search` prints where each passage stands, its score and its text."""
    server.on("POST", "/search", {"passages": [PASSAGE]})
    assert run("search", "dome") == 0
    printed = capsys.readouterr().out
    assert printed.startswith("handbook.pdf, page 4  0.970  Observing › The dome\n  The dome closes at 15 m/s.")


def test_a_page_is_called_as_its_file_calls_it(server: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    """The fourth page of a file whose preface has Roman numerals is page iv."""
    server.on("POST", "/search", {"passages": [PASSAGE | {"page_label": "iv"}]})
    assert run("search", "dome") == 0
    assert capsys.readouterr().out.startswith("handbook.pdf, page iv ")


def test_documents_are_followed_until_they_are_ready(
    server: FakeServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`documents add` takes files and folders, skips hidden files, waits, and gives each failure a line."""
    folder = tmp_path / "papers"
    (folder / ".git").mkdir(parents=True)
    for name in ("a.txt", "b.exe", "c.pdf", "d.md", ".hidden", ".git/config"):
        (folder / name).write_text(name, encoding="utf-8")
    states = iter(["queued", "embedding", "failed"])

    def accept(request: Request) -> tuple[int, Any]:
        names = ["a.txt", "b.exe", "c.pdf", "d.md"]
        [(number, name)] = [each for each in enumerate(names) if f'filename="{each[1]}"'.encode() in request.body]
        if number == 1:
            return 415, {"error": {"message": "b.exe is a Windows program."}}
        done = number == 3
        return 202, {"documents": [document(number, "ready" if done else "queued", filename=name, duplicate=done)]}

    def progress(_: Request) -> tuple[int, Any]:
        status = next(states)
        error = {"code": "no_text", "message": "No text was found in the file."} if status == "failed" else None
        counts = {"stage": status, "done": 1, "total": 2}
        return 200, document(2, status, filename="c.pdf", error=error, progress=counts)

    server.on("POST", "/documents", accept)
    server.on("GET", "/documents/doc_0", document(0, filename="a.txt"))
    server.on("GET", "/documents/doc_2", progress)
    assert run("documents", "add", str(folder), "--collection", "station") == 1
    captured = capsys.readouterr()
    assert "✗ " in captured.out
    assert "b.exe: b.exe is a Windows program." in captured.out
    assert "✓ a.txt: 2 chunks" in captured.out
    assert "✗ c.pdf: No text was found in the file." in captured.out
    assert "✓ d.md: already there" in captured.out
    assert captured.err == "2 of 4 files failed.\n"
    uploads = server.asked("POST", "/documents")
    assert len(uploads) == 4
    assert all(b"station" in upload.body for upload in uploads)


def test_urls_are_left_to_the_server(server: FakeServer) -> None:
    """`documents add` with a URL sends the URL; a path that is not there is wrong usage, and nothing is sent."""
    server.on("POST", "/documents", {"documents": [document(0, "queued")]}, status=202)
    assert run("documents", "add", "https://example.org/a.pdf", "--no-wait", "--collection", "station") == 0
    assert server.requests[0].json == {"url": "https://example.org/a.pdf", "collection": "station"}
    assert run("documents", "add", "missing.txt") == 2
    assert len(server.requests) == 1


def test_a_password_goes_along(server: FakeServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With each file and each URL, and into no output."""
    server.on("POST", "/documents", {"documents": [document(0, "queued")]}, 202)
    (tmp_path / "a.pdf").write_bytes(b"%PDF")
    arguments = ["documents", "add", str(tmp_path / "a.pdf"), "https://example.org/b.pdf", "--no-wait"]
    assert run(*arguments, "--password", "a green lantern") == 0
    form, url = sorted((request.body for request in server.asked("POST", "/documents")), key=len, reverse=True)
    assert b'name="password"\r\n\r\na green lantern\r\n' in form
    assert json.loads(url)["password"] == "a green lantern"
    captured = capsys.readouterr()
    assert "lantern" not in captured.out + captured.err


@pytest.mark.skipif(sys.platform == "darwin", reason="its file systems refuse such names")
def test_a_name_that_is_no_utf8_is_sent_as_far_as_it_goes(
    server: FakeServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file with such a name is uploaded like others."""
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / os.fsdecode(b"caf\xe9.txt")).write_text("a", encoding="utf-8")
    server.on("POST", "/documents", {"documents": [document(0)]}, status=202)
    assert run("documents", "add", "notes") == 0
    assert b'filename="caf?.txt"' in server.requests[0].body
    assert "caf?.txt: 2 chunks" in capsys.readouterr().out


def test_many_documents_are_followed_by_their_list(server: FakeServer, tmp_path: Path) -> None:
    """The states of many documents come from the list, newest first, no further than the oldest of them."""
    (tmp_path / "notes").mkdir()
    for number in range(40):
        (tmp_path / "notes" / f"{number}.txt").write_text(str(number), encoding="utf-8")
    ids = itertools.count()
    rounds = itertools.count()

    def listed(request: Request) -> tuple[int, Any]:
        assert request.query["collection"] == ["station"]
        assert "cursor" not in request.query
        ready = 0 if next(rounds) == 0 else 30
        states = [document(number, "ready" if number < ready else "queued") for number in range(40)]
        return 200, {"documents": states[::-1], "next_cursor": "older"}

    server.on("POST", "/documents", lambda _: (202, {"documents": [document(next(ids), "queued")]}))
    server.on("GET", "/documents", listed)
    for number in range(30, 39):
        server.on("GET", f"/documents/doc_{number}", document(number))  # and doc_39 was deleted
    assert run("documents", "add", "notes", "--collection", "station") == 1
    assert len(server.asked("GET", "/documents")) == 2
    assert len(server.requests) == 40 + 2 + 10


def test_without_waiting_nothing_is_followed(server: FakeServer, tmp_path: Path) -> None:
    """`documents add --no-wait` returns when all are uploaded."""
    (tmp_path / "a.txt").write_text("a", encoding="utf-8")
    server.on("POST", "/documents", {"documents": [document(0, "queued")]}, status=202)
    assert run("documents", "add", "a.txt", "--no-wait") == 0
    assert [each.method for each in server.requests] == ["POST"]


def test_the_list_goes_through_all_pages(server: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    """`documents list` follows the cursor to the end."""

    def page(request: Request) -> tuple[int, Any]:
        if request.query.get("cursor") == ["next"]:
            return 200, {"documents": [document(2)], "next_cursor": None}
        return 200, {"documents": [document(1)], "next_cursor": "next"}

    server.on("GET", "/documents", page)
    assert run("documents", "list", "--collection", "default") == 0
    printed = capsys.readouterr().out
    assert "doc_1" in printed
    assert "doc_2" in printed
    assert [each.query["collection"] for each in server.requests] == [["default"]] * 2


def test_deleting_goes_on_after_an_unknown_document(server: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    """`documents delete` deletes what it can and exits with 1 if one was not there."""
    server.on("DELETE", "/documents/doc_2", None, status=204)
    assert run("documents", "delete", "doc_1", "doc_2") == 1
    captured = capsys.readouterr()
    assert captured.out == "doc_2 deleted\n"
    assert captured.err.startswith("doc_1: ")


def test_collections_are_created_and_deleted(server: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    """`collections create` and `delete` say what they did."""
    server.on("POST", "/collections", {"name": "station"}, status=201)
    server.on("DELETE", "/collections/station", None, status=204)
    assert run("collections", "create", "station") == 0
    assert run("collections", "delete", "station") == 0
    assert capsys.readouterr().out == "station created\nstation deleted\n"


def test_a_wrong_setting_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A setting that makes no sense ends the command with its name and exit code 2."""
    use_settings(monkeypatch, tmp_path, PORT="eight thousand")
    assert run("collections", "list") == 2
    assert capsys.readouterr().err.startswith("FOOTNOTE_PORT: ")


def test_a_key_is_shown_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`key create` prints the secret, `key list` never does, and `key revoke` ends it."""
    use_settings(monkeypatch, tmp_path, DATA_DIR=str(tmp_path / "data"))
    assert run("key", "create", "laptop") == 0
    created = capsys.readouterr()
    secret, key_id = created.out.strip(), created.err.split()[0]
    assert run("key", "revoke", key_id) == 0
    assert run("key", "list") == 0
    listed = capsys.readouterr().out
    assert secret not in listed
    assert re.search(rf"{key_id}\s+laptop(\s+\d{{4}}-\d\d-\d\d \d\d:\d\d){{2}}", listed)


def test_talking_to_a_server_loads_no_model_code() -> None:
    """The command line imports nothing heavy, so that it starts at once."""
    heavy = {"torch", "faiss", "transformers", "sentence_transformers", "fastapi", "sqlalchemy", "tantivy", "numpy"}
    program = f"import sys, app.__main__; print(*({heavy!r} & set(sys.modules)))"
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert finished.stdout == "\n"


@given(st.binary(), st.lists(st.integers(0, 400)))
def test_events_survive_any_cut(noise: bytes, cuts: list[int]) -> None:
    """Events are the same however the network cuts their bytes, and a U+2028 in a text cuts none."""
    texts = [noise.decode("utf-8", "replace"), "圆顶\u2028“关闭”\x85。\r\n"]
    lines = [f"event: delta\r\ndata: {json.dumps({'text': text}, ensure_ascii=False)}\r\n\r\n" for text in texts]
    content = (": keep-alive\n\n" + "".join(lines)).encode()
    at = sorted({0, len(content), *(cut for cut in cuts if cut < len(content))})
    chunks = [content[start:end] for start, end in itertools.pairwise(at)]
    assert list(read_events(chunks)) == [("delta", {"text": text}) for text in texts]
