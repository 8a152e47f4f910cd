"""`documents sync` against a real server with its worker: what a collection holds is what the folder holds."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from rich.console import Console

from app import cli_sync
from app.__main__ import main
from app.cli_sync import Sync, watch
from app.client import Client, ClientError, Outgoing
from app.folder import Folder, Skipped
from app.folder_sync import Mirror, make_plan
from tests.api.serving import LIMIT_BYTES, Service
from tests.waiting import wait_until

Written = Callable[..., Path]


class Syncing:
    """One folder named `papers`, and one collection."""

    def __init__(self, service: Service, collection: str, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.service = service
        self.collection = collection
        self.root = root
        self._capsys = capsys
        root.mkdir()

    def write(self, name: str, text: str | bytes) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    def run(self, *options: str, code: int = 0) -> str:
        """The command's output, standard error behind it."""
        arguments = ["documents", "sync", str(self.root), "-c", self.collection, "--url", self.service.url, *options]
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        captured = self._capsys.readouterr()
        assert int(ended.value.code or 0) == code, captured
        return captured.out + captured.err

    def documents(self) -> dict[str, dict[str, Any]]:
        """By external id, or by filename where there is none."""
        listed = self.service.http.get("/documents", params={"collection": self.collection, "limit": 1000}).json()
        return {each["external_id"] or each["filename"]: each for each in listed["documents"]}


@pytest.fixture
def syncing(
    service: Service,
    collection: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Syncing:
    monkeypatch.chdir(tmp_path)  # no `.env` of anyone
    return Syncing(service, collection, tmp_path / "papers", capsys)


def test_a_collection_mirrors_its_folder(syncing: Syncing) -> None:
    """New files are added, changed ones replaced, those that are gone removed; the rest is not uploaded again."""
    syncing.service.add("minutes.txt", "Uploaded by hand.", collection=syncing.collection)
    for name in ("dome.txt", "wind.txt", "年报/一月.txt"):
        syncing.write(name, f"The first text of {name}.")
    assert "3 added, 0 replaced, 0 removed, 0 unchanged, 0 skipped, 0 failed\n" in syncing.run()
    before = syncing.documents()
    assert before.keys() == {"minutes.txt", "sync:papers/dome.txt", "sync:papers/wind.txt", "sync:papers/年报/一月.txt"}
    assert all(each["status"] == "ready" for each in before.values())

    assert syncing.run() == "nothing to do: 3 files are up to date\n"
    syncing.write("dome.txt", "The second text.")
    (syncing.root / "wind.txt").unlink()
    assert syncing.run("--dry-run").splitlines() == [
        "would replace dome.txt",
        "would remove wind.txt",
        "would be 0 added, 1 replaced, 1 removed, 1 unchanged, 0 skipped, 0 failed",
    ]
    assert syncing.documents() == before
    assert "0 added, 1 replaced, 1 removed, 1 unchanged, 0 skipped, 0 failed\n" in syncing.run()
    after = syncing.documents()
    assert after.keys() == before.keys() - {"sync:papers/wind.txt"}
    assert after["sync:papers/dome.txt"]["id"] == before["sync:papers/dome.txt"]["id"]
    assert after["sync:papers/dome.txt"]["version"] == 2
    assert after["minutes.txt"] == before["minutes.txt"]


def test_a_moved_file_is_never_lost(syncing: Syncing) -> None:
    """The same bytes at another path are there under that path alone, also where the old path has other bytes now."""
    syncing.write("a.txt", "The text of a.")
    syncing.write("b.txt", "The text of b.")
    syncing.run()
    (syncing.root / "a.txt").rename(syncing.root / "c.txt")
    assert "1 added, 0 replaced, 1 removed, 1 unchanged" in syncing.run()
    assert syncing.documents().keys() == {"sync:papers/b.txt", "sync:papers/c.txt"}
    (syncing.root / "b.txt").rename(syncing.root / "d.txt")
    syncing.write("b.txt", "Another text.")
    syncing.write("copy.txt", "Another text.")
    assert "1 added, 1 replaced, 0 removed, 1 unchanged" in syncing.run()
    assert syncing.documents().keys() == {f"sync:papers/{name}.txt" for name in "bcd"}
    assert "3 files are up to date" in syncing.run()


def test_a_copy_is_no_second_document(syncing: Syncing) -> None:
    """Of files with the same bytes, one is a document; when its file goes, another takes its place."""
    syncing.write("a.txt", "The text.")
    syncing.write("copy.txt", "The text.")
    assert "skipped: 1 with the same bytes as another document" in syncing.run()
    assert syncing.run().startswith("nothing to do: 1 file is up to date\n")
    (syncing.root / "a.txt").unlink()
    syncing.run()
    assert syncing.documents().keys() == {"sync:papers/copy.txt"}


def test_folders_share_a_collection_under_their_names(syncing: Syncing) -> None:
    """What was synced under another name is left alone."""
    syncing.write("a.txt", "The text of a.")
    syncing.run("--name", "first")
    syncing.write("a.txt", "Another text of a.")
    syncing.run("--name", "second")
    assert syncing.documents().keys() == {"sync:first/a.txt", "sync:second/a.txt"}
    assert "cannot name a synced folder" in syncing.run("--name", "a/b", code=1)


def test_what_is_no_document_is_skipped_with_its_reason(syncing: Syncing, tmp_path: Path) -> None:
    """Hidden files, ignored ones, links out of the folder and unreadable kinds are counted, not failed."""
    (tmp_path / "outside.txt").write_text("Not in the folder.", encoding="utf-8")
    syncing.write("a.txt", "The text.")
    syncing.write(".footnoteignore", "drafts/\n*.log\n")
    syncing.write(".git/config", "hidden")
    syncing.write("drafts/b.txt", "A draft.")
    syncing.write("noise.log", "Noise.")
    syncing.write("photo.gif", b"GIF89a\x00\x01")
    syncing.write("empty.txt", "")
    (syncing.root / "link.txt").symlink_to(tmp_path / "outside.txt")
    (syncing.root / "inside.txt").symlink_to(syncing.root / "a.txt")
    os.mkfifo(syncing.root / "pipe")
    printed = syncing.run()
    assert "1 added, 0 replaced, 0 removed, 0 unchanged, 8 skipped, 0 failed" in printed
    assert "2 named by .footnoteignore" in printed
    assert "1 of a kind that cannot be read" in printed
    assert syncing.documents().keys() == {"sync:papers/a.txt"}
    syncing.write(".footnoteignore", "")
    assert "2 added" in syncing.run()


def test_the_innermost_ignore_file_has_the_word(tmp_path: Path) -> None:
    """`.footnoteignore` files of subfolders decide for what is below them, as git's do."""
    for name in ("a.log", "logs/b.log", "logs/c.txt", "deep/logs/d.log", "deep/keep/e.log"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name, encoding="utf-8")
    (tmp_path / ".footnoteignore").write_text("# noise\n*.log\n/logs/c.txt\n", encoding="utf-8")
    (tmp_path / "deep/.footnoteignore").write_text("!keep/*.log\n", encoding="utf-8")
    contents = Folder(tmp_path).look()
    assert contents.files.keys() == {"deep/keep/e.log"}
    assert contents.skipped == dict.fromkeys(["a.log", "logs/b.log", "logs/c.txt", "deep/logs/d.log"], Skipped.IGNORED)


def test_a_collection_is_not_emptied_by_mistake(syncing: Syncing) -> None:
    """A folder with none of the files that were synced before changes nothing, unless --yes says that it is meant."""
    syncing.write("a.txt", "The text of a.")
    syncing.write("b.txt", "The text of b.")
    syncing.run()
    before = syncing.documents()
    for name in "ab":
        (syncing.root / f"{name}.txt").unlink()
    assert "None of the 2 files that were synced before is in" in syncing.run(code=1)
    syncing.write("c.txt", "Of another folder with the same name.")
    assert "add --yes" in syncing.run(code=1)
    assert syncing.documents() == before
    syncing.run("--yes")
    assert syncing.documents().keys() == {"sync:papers/c.txt"}


def test_nothing_is_removed_while_a_part_cannot_be_read(syncing: Syncing, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a subfolder cannot be looked into, files that are missing elsewhere keep their documents, too."""
    for name in ("a.txt", "b.txt", "sub/c.txt"):
        syncing.write(name, f"The text of {name}.")
    syncing.run()
    (syncing.root / "a.txt").unlink()
    scandir = os.scandir

    def refusing(path: Path) -> Any:
        if path.name == "sub":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr("app.folder.os.scandir", refusing)
    assert "✗ sub/: Permission denied" in syncing.run(code=1)
    monkeypatch.undo()
    assert len(syncing.documents()) == 3
    assert "1 removed" in syncing.run()


def test_a_failed_document_waits_for_its_file_to_change(syncing: Syncing) -> None:
    """It is reported with its reason each time, and tried again when its file changed or with --retry-failed."""
    syncing.write("a.txt", "The text.")
    syncing.write("broken.pdf", b"%PDF-1.7\nnothing of a PDF")
    assert "1 added, 0 replaced, 0 removed, 0 unchanged, 0 skipped, 1 failed" in syncing.run(code=1)
    failed = syncing.documents()["sync:papers/broken.pdf"]
    again = syncing.run(code=1)
    assert f"✗ broken.pdf: {failed['error']['message']}" in again
    assert "nothing to do: 1 file is up to date; 1 failed before: --retry-failed tries again" in again
    assert syncing.documents()["sync:papers/broken.pdf"] == failed
    syncing.run("--retry-failed", code=1)
    assert syncing.documents()["sync:papers/broken.pdf"]["updated_at"] > failed["updated_at"]
    syncing.write("broken.pdf", b"%PDF-1.7\nstill nothing of a PDF")
    syncing.run(code=1)
    assert syncing.documents()["sync:papers/broken.pdf"]["version"] == 2


def test_what_the_server_refuses_is_failed(syncing: Syncing) -> None:
    """A file over the server's limit is named with the server's reason; the others are uploaded."""
    syncing.write("a.txt", "The text.")
    syncing.write("large.txt", "many words " * (LIMIT_BYTES // 10))
    printed = syncing.run(code=1)
    assert re.search("✗ large.txt: .*limit", printed)
    assert "1 added, 0 replaced, 0 removed, 0 unchanged, 0 skipped, 1 failed" in printed


def test_a_folder_that_is_gone_is_said(syncing: Syncing) -> None:
    """Without the folder nothing is compared."""
    syncing.root.rmdir()
    assert "is not there, or is not a folder" in syncing.run(code=1)


def test_a_folder_that_goes_while_it_is_read_removes_nothing(syncing: Syncing) -> None:
    """A file that was listed and is not there when it is read keeps its document until the next look misses it, too."""
    syncing.write("a.txt", "The text of a.")
    syncing.write("b.txt", "The text of b.")
    syncing.run()
    folder = Folder(syncing.root)
    contents = folder.look()
    (syncing.root / "a.txt").unlink()
    mirror, documents = Mirror("papers"), list[Any](syncing.documents().values())
    assert make_plan(mirror, folder, contents, documents).removed == []
    [removed] = make_plan(mirror, folder, folder.look(), documents).removed
    assert removed.external_id == "sync:papers/a.txt"


def test_a_moved_file_that_cannot_be_opened_costs_no_document(syncing: Syncing) -> None:
    """The document of the old path goes only when there is something to send for the new one."""
    syncing.write("a.txt", "The text of a.")
    syncing.run()
    old = syncing.documents()["sync:papers/a.txt"]["id"]
    missing = Outgoing(syncing.root / "moved.txt", "moved.txt", "sync:papers/moved.txt", (old,))
    with Client(syncing.service.url) as client:
        [(_, result)] = client.upload_all([missing], collection=syncing.collection)
    assert isinstance(result, FileNotFoundError)
    assert syncing.documents().keys() == {"sync:papers/a.txt"}


def test_links_in_a_circle_are_skipped(tmp_path: Path) -> None:
    """A link to itself, to the folder or to nothing is no document, and no reason to doubt the rest."""
    (tmp_path / "self").symlink_to("self")
    (tmp_path / "above").symlink_to(tmp_path)
    (tmp_path / "nothing").symlink_to("missing")
    contents = Folder(tmp_path).look()
    assert contents.skipped == dict.fromkeys(["self", "above", "nothing"], Skipped.LINK)
    assert not contents.problems


def test_paths_of_any_length_have_an_external_id() -> None:
    """A path too long for the API is cut, and ends with a digest of the whole."""
    mirror = Mirror("papers")
    first, second = mirror.external_id("部" * 300 + "1"), mirror.external_id("部" * 300 + "2")
    assert len(first) == len(second) == 255
    assert first != second
    assert mirror.holds(first)
    assert not mirror.holds("sync:papers-of-others/a.txt")


class Line(httpx.BaseTransport):
    """A connection to the server that can be cut."""

    def __init__(self) -> None:
        self.is_cut = False
        self._http = httpx.HTTPTransport()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if self.is_cut:
            raise httpx.ConnectError("Connection refused")
        return self._http.handle_request(request)

    def close(self) -> None:
        self._http.close()


def test_watching_follows_the_folder(syncing: Syncing) -> None:
    """Changes are carried out once a file is written wholly, also after the server was away; Ctrl-C ends it."""
    line, complaints = Line(), list[str]()

    def external_ids() -> set[str]:
        return {name.removeprefix("sync:papers/") for name in syncing.documents()}

    def story() -> Iterator[None]:
        """What happens between two looks."""
        syncing.write("a.txt", "The text of a.")
        yield  # seen
        yield  # unchanged
        assert external_ids() == {"a.txt"}
        syncing.write("b.txt", "The first half")
        yield
        syncing.write("b.txt", "The first half and the second.")
        yield
        assert external_ids() == {"a.txt"}
        yield
        assert external_ids() == {"a.txt", "b.txt"}
        line.is_cut = True
        (syncing.root / "a.txt").unlink()
        yield
        yield
        assert len(complaints) == 2
        assert complaints[0].startswith("No Footnote server answers")
        line.is_cut = False
        yield
        assert external_ids() == {"b.txt"}
        assert complaints[2:] == ["It works again."]
        syncing.root.rename(syncing.root.with_name("away"))
        yield
        assert external_ids() == {"b.txt"}
        assert complaints[3].endswith("is not there, or is not a folder.")
        raise KeyboardInterrupt

    steps = story()
    console = Console(file=io.StringIO())
    with Client(syncing.service.url, transport=line) as client:
        sync = Sync(client, console, syncing.root, collection=syncing.collection)
        watch(sync, complain=complaints.append, pause=lambda _: next(steps))
    assert list(steps) == []


def test_a_refusal_ends_watching(syncing: Syncing) -> None:
    """What waiting cannot mend, such as a collection that is not there, is an error."""
    with Client(syncing.service.url) as client:
        sync = Sync(client, Console(file=io.StringIO()), syncing.root, collection="nowhere")
        with pytest.raises(ClientError, match="nowhere"):
            watch(sync, complain=pytest.fail, pause=lambda _: None)


def test_ctrl_c_ends_watching_well(syncing: Syncing) -> None:
    """The exit code of `--watch` is 0."""
    syncing.write("a.txt", "The text.")
    # Whoever runs the tests in the background of a shell has Ctrl-C ignored, and so would the process.
    program = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); import app.__main__ as m; m.main()"
    )
    arguments = ["documents", "sync", str(syncing.root), "--watch", "-c", syncing.collection]
    command = [sys.executable, "-c", program, *arguments, "--url", syncing.service.url]
    process = subprocess.Popen(command, cwd=Path(cli_sync.__file__).parents[1], stdout=subprocess.PIPE)
    try:
        wait_until(lambda: len(syncing.documents()) == 1, 60, "the first upload")
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.communicate()
