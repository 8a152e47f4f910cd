"""What the command line and the demo show: answers with their footnotes, passages, uploads under way."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from app.client import FINISHED, Client, ClientError, Outgoing
from app.client_records import (
    AnswerRecord,
    AskEvent,
    CitationRecord,
    Delta,
    DocumentRecord,
    Done,
    PassageRecord,
    Sources,
)
from app.types import DocumentStatus, Support

# Documents and models are not trusted with the terminal: without these characters they cannot steer it.
_CONTROL_CHARACTERS = {code: None for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"}


def printable(text: str) -> str:
    """The text without characters that a terminal obeys, and without what is no character (in names of files)."""
    return text.translate(_CONTROL_CHARACTERS).encode("utf-8", "replace").decode()


def show_answer(console: Console, events: Iterable[AskEvent]) -> AnswerRecord:
    """Print an answer while it arrives, then its footnotes; for an honest "not here", the nearest passages."""
    passages: list[PassageRecord] = []
    for event in events:
        if isinstance(event, Sources):
            passages = event.passages
        elif isinstance(event, Delta):
            console.print(printable(event.text), end="", markup=False, highlight=False, soft_wrap=True)
        elif isinstance(event, Done):
            console.print()
            show_evidence(console, event.answer, passages)
            return event.answer
    raise ClientError("The server ended its answer too early.")


def show_evidence(console: Console, answer: AnswerRecord, passages: Sequence[PassageRecord] = ()) -> None:
    """The footnotes of an answer, and what a reader should know about how it came about."""
    for citation in answer["citations"]:
        _show_citation(console, citation)
    for sentence in answer.get("sentences", ()):
        if sentence["support"] == Support.UNSUPPORTED:
            words = printable(answer["answer"][sentence["start"] : sentence["end"]])
            console.print(Text(f"  Not supported by your documents: {words}", style="yellow"), soft_wrap=True)
    if not answer["answerable"]:
        nearest = " · ".join(dict.fromkeys(_place(passage) for passage in passages[:3]))
        if nearest:
            console.print(f"  [dim]Nearest: {escape(printable(nearest))}[/dim]", highlight=False)
    if answer["degraded"] and answer["reason"]:
        console.print(f"  [yellow]{escape(printable(answer['reason']))}[/yellow]", highlight=False)


def _show_citation(console: Console, citation: CitationRecord) -> None:
    place = escape(printable(_place(citation)))
    console.print(f"  [cyan]\\[{citation['marker']}][/cyan] [bold]{place}[/bold]", highlight=False)
    quote = " ".join(printable(citation["quote"]).split())
    console.print(Padding(Text(f"“{quote}”", style="dim"), (0, 0, 0, 6), expand=False))


def _place(found: CitationRecord | PassageRecord) -> str:
    page = found.get("page_label") or found["page"]
    return found["filename"] if page is None else f"{found['filename']}, page {page}"


def show_passages(console: Console, passages: Sequence[PassageRecord]) -> None:
    """Search results, best first: where each one stands, its score, its text."""
    for passage in passages:
        place = escape(printable(_place(passage)))
        headings = escape(printable(" › ".join(passage["headings"])))
        console.print(f"[bold]{place}[/bold]  [dim]{passage['score']:.3f}  {headings}[/dim]", highlight=False)
        console.print(Padding(Text(printable(passage["text"]).strip()), (0, 0, 1, 2), expand=False))


def show_documents(console: Console, documents: Iterable[DocumentRecord]) -> None:
    """One line a document, newest first, in columns that a shell can cut; the name is the last of them."""
    for document in documents:
        pages, chunks = document.get("pages"), document.get("chunks", 0)
        extent = f"{f'{pages} pages' if pages else '':>9} {f'{chunks} chunks':>12}"
        place = printable(f"{document['collection']}/{document['filename']}")
        line = Text(f"{document['id']}  {document['status']:<9} {extent}  {place}")
        error = document.get("error")
        if error:
            line.append(f": {printable(error['message'])}", style="red")
        console.print(line, soft_wrap=True)


class Uploads:
    """Uploads files and URLs, follows each until it can be searched, and prints a line for each that ends.

    A context manager: inside it, its bar stands below what is printed.
    """

    def __init__(self, client: Client, console: Console, *, collection: str) -> None:
        self.failed = 0
        self.failures: dict[str, str] = {}  # reasons by name
        self.passing = 0  # failures that another try may not meet: of the connection, the server, this machine's disk
        self._client = client
        self._collection = collection
        self._names: dict[str, str] = {}  # of the files that became these documents, while they are unfinished
        self._progress = progress_bar(console)
        self._task = self._progress.add_task("", total=0, doing="")
        self._total = 0

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def run(self, files: Sequence[Outgoing], *, wait: bool) -> None:
        """Upload all; with `wait`, stay until the last one is `ready` or `failed`."""
        with self:
            self.send(files, wait=wait)
            self.follow()

    def send(self, files: Sequence[Outgoing], *, wait: bool = True) -> None:
        """Upload all; with `wait`, remember to follow what is not ready yet."""
        self.expect(len(files))
        sent = self._client.upload_all(files, collection=self._collection)
        for number, (outgoing, result) in enumerate(sent, 1):
            self.show(f"uploaded {number} of {len(files)}: {outgoing.name}")
            if isinstance(result, Exception):
                self.refuse(outgoing.name, result)
            elif result["id"] in self._names:
                self._progress.advance(self._task)  # the same bytes as a file before
            elif wait and result["status"] != DocumentStatus.READY:
                self._names[result["id"]] = outgoing.name
            else:
                self._end(outgoing.name, result)

    def expect(self, count: int) -> None:
        """The bar has as many more to count."""
        self._total += count
        self._progress.update(self._task, total=self._total)

    def show(self, doing: str) -> None:
        """Say beside the bar what is being done."""
        self._progress.update(self._task, doing=printable(doing))

    def await_document(self, document_id: str, name: str) -> None:
        """Follow a document that was uploaded before."""
        self.expect(1)
        self._names[document_id] = name

    def follow(self) -> None:
        """Stay until all are `ready`, `failed` or deleted."""
        for document in self._client.follow(self._names, collection=self._collection):
            name = self._names[document["id"]]
            self.show(_doing(name, document))
            if document["status"] in FINISHED:
                del self._names[document["id"]]
                self._end(name, document)
        for name in self._names.values():
            self.fail(name, "Somebody deleted it while it was read.")
        self._names.clear()

    def finish(self, name: str, outcome: str) -> None:
        self._print("[green]✓[/green]", name, outcome)

    def fail(self, name: str, reason: str) -> None:
        self.failed += 1
        self.failures[name] = reason
        self._print("[red]✗[/red]", name, reason)

    def refuse(self, name: str, error: ClientError | OSError) -> None:
        self.passing += not (isinstance(error, ClientError) and error.is_final)
        self.fail(name, error.message if isinstance(error, ClientError) else error.strerror or str(error))

    def _end(self, name: str, document: DocumentRecord) -> None:
        if document["status"] == DocumentStatus.FAILED:
            error = document.get("error")
            self.fail(name, error["message"] if error else "It could not be read.")
        else:
            self.finish(name, "already there" if document.get("duplicate") else _extent(document))

    def _print(self, mark: str, name: str, outcome: str) -> None:
        self._progress.advance(self._task)
        line = f"{mark} {escape(printable(name))}: {escape(printable(outcome))}"
        self._progress.console.print(line, highlight=False, soft_wrap=True)


def progress_bar(console: Console) -> Progress:
    """A bar with what is being done beside it, which leaves nothing behind."""
    columns = (SpinnerColumn(), BarColumn(bar_width=24), MofNCompleteColumn(), TimeElapsedColumn())
    doing = TextColumn("{task.fields[doing]}", markup=False)
    return Progress(*columns, doing, console=console, transient=True, disable=not console.is_terminal)


def _doing(name: str, document: DocumentRecord) -> str:
    progress = document.get("progress")
    done = f" {progress['done']}/{progress['total']}" if progress and progress["total"] else ""
    return f"{document['status']}{done} {name}"


def _extent(document: DocumentRecord) -> str:
    if document["status"] != DocumentStatus.READY:
        return document["status"]
    pages, chunks = document.get("pages"), document.get("chunks", 0)
    return f"{pages} pages, {chunks} chunks" if pages else f"{chunks} chunks"
