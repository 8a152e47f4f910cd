"""What the command line and the demo show: answers with their footnotes, passages, uploads under way."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from app.client import FINISHED, Client, ClientError, ServerNotRunning
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
from app.types import DocumentStatus

# Documents and models are not trusted with the terminal: without these characters they cannot steer it.
_CONTROL_CHARACTERS = {code: None for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"}


def printable(text: str) -> str:
    """The text without characters that a terminal obeys."""
    return text.translate(_CONTROL_CHARACTERS)


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
    if not answer["answerable"]:
        nearest = " · ".join(dict.fromkeys(_place(passage["filename"], passage["page"]) for passage in passages[:3]))
        if nearest:
            console.print(f"  [dim]Nearest: {escape(printable(nearest))}[/dim]", highlight=False)
    if answer["degraded"] and answer["reason"]:
        console.print(f"  [yellow]{escape(printable(answer['reason']))}[/yellow]", highlight=False)


def _show_citation(console: Console, citation: CitationRecord) -> None:
    place = escape(printable(_place(citation["filename"], citation["page"])))
    console.print(f"  [cyan]\\[{citation['marker']}][/cyan] [bold]{place}[/bold]", highlight=False)
    quote = " ".join(printable(citation["quote"]).split())
    console.print(Padding(Text(f"“{quote}”", style="dim"), (0, 0, 0, 6), expand=False))


def _place(filename: str, page: int | None) -> str:
    return filename if page is None else f"{filename}, page {page}"


def show_passages(console: Console, passages: Sequence[PassageRecord]) -> None:
    """Search results, best first: where each one stands, its score, its text."""
    for passage in passages:
        place = escape(printable(_place(passage["filename"], passage["page"])))
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
    """Uploads files and URLs, follows each until it can be searched, and prints a line for each that ends."""

    def __init__(self, client: Client, console: Console, *, collection: str) -> None:
        self.documents: list[DocumentRecord] = []
        self.failed = 0
        self._client = client
        self._collection = collection
        self._progress = Progress(
            SpinnerColumn(),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[doing]}", markup=False),
            console=console,
            transient=True,
        )

    def run(self, sources: Sequence[Path | str], *, wait: bool) -> None:
        """Upload all; with `wait`, stay until the last one is `ready` or `failed`. A string is a URL."""
        with self._progress:
            task = self._progress.add_task("", total=len(sources), doing="")
            queued: list[str] = []
            for source in sources:
                name = source if isinstance(source, str) else source.name
                self._progress.update(task, doing=f"uploading {printable(name)}")
                document = self._upload(source)
                if document and wait and document["status"] != DocumentStatus.READY:
                    queued.append(document["id"])
                    continue
                if document:
                    self._finish(document)
                self._progress.advance(task)
            for document in self._client.follow(queued):
                self._progress.update(task, doing=_doing(document))
                if document["status"] in FINISHED:
                    self._finish(document)
                    self._progress.advance(task, queued.count(document["id"]))

    def _upload(self, source: Path | str) -> DocumentRecord | None:
        try:
            if isinstance(source, str):
                return self._client.upload_url(source, collection=self._collection)
            return self._client.upload(source, collection=self._collection)
        except ServerNotRunning:
            raise
        except (ClientError, OSError) as error:
            self._fail(str(source), error.strerror or str(error) if isinstance(error, OSError) else error.message)
            return None

    def _finish(self, document: DocumentRecord) -> None:
        if document["status"] == DocumentStatus.FAILED:
            error = document.get("error")
            self._fail(document["filename"], error["message"] if error else "It could not be read.")
            return
        self.documents.append(document)
        outcome = "already there" if document.get("duplicate") else _extent(document)
        self._print("[green]✓[/green]", document["filename"], outcome)

    def _fail(self, name: str, reason: str) -> None:
        self.failed += 1
        self._print("[red]✗[/red]", name, reason)

    def _print(self, mark: str, name: str, outcome: str) -> None:
        line = f"{mark} {escape(printable(name))}: {escape(printable(outcome))}"
        self._progress.console.print(line, highlight=False, soft_wrap=True)


def _doing(document: DocumentRecord) -> str:
    progress = document.get("progress")
    done = f" {progress['done']}/{progress['total']}" if progress and progress["total"] else ""
    return f"{document['status']}{done} {printable(document['filename'])}"


def _extent(document: DocumentRecord) -> str:
    if document["status"] != DocumentStatus.READY:
        return document["status"]
    pages, chunks = document.get("pages"), document.get("chunks", 0)
    return f"{pages} pages, {chunks} chunks" if pages else f"{chunks} chunks"
