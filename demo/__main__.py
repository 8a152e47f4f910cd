"""Footnote in a minute: upload the samples, ask five questions, check the answers. `make demo` runs it."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from subprocess import Popen
from typing import Annotated

import typer
from rich.console import Console
from rich.rule import Rule
from rich.text import Text

from app.cli_output import Uploads, show_answer
from app.client import Client, ClientError, Outgoing
from app.client_records import AnswerRecord
from demo.questions import QUESTIONS, Question
from demo.server import HOST, ROOT, DemoError, is_free, running_server, wait_until_ready

SAMPLES = ROOT / "samples"
COLLECTION = "default"
console = Console(highlight=False)


def main(
    once: Annotated[bool, typer.Option("--once", help="End after the questions instead of serving on.")] = False,
    port: Annotated[int, typer.Option(help="Where to serve.")] = 8000,
) -> None:
    """Start a server on the embedded default, upload the samples, ask five questions, and keep serving."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))  # so that the server is stopped, too
    try:
        _run(_choose_port(port, once=once), once=once)
    except (DemoError, ClientError) as error:
        console.print(Text(str(error), style="red"), soft_wrap=True)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        console.print("\nStopped.")


def _choose_port(port: int, *, once: bool) -> int:
    if is_free(port):
        return port
    if not once:
        raise DemoError(f"Port {port} of this machine is in use. Stop what listens there, or: make demo PORT=8001")
    return next(candidate for candidate in range(port + 1, 65536) if is_free(candidate))


def _run(port: int, *, once: bool) -> None:
    url = f"http://{HOST}:{port}"
    with running_server(port) as server, Client(url) as client:
        with console.status("Starting the server and loading the embedding model …"):
            wait_until_ready(client, server)
        _upload_samples(client)
        wrong = [problem for question in QUESTIONS for problem in _ask(client, question)]
        for problem in wrong:
            console.print(Text(f"✗ {problem}", style="red"))
        if not wrong:
            console.print(f"[green]✓ All {len(QUESTIONS)} answers are right, and every quote is exact.[/green]")
        if once:
            raise typer.Exit(1 if wrong else 0)
        _serve_on(url, server)


def _upload_samples(client: Client) -> None:
    paths = sorted(path for path in SAMPLES.iterdir() if path.suffix in {".pdf", ".docx", ".md", ".html"})
    console.print(Rule("Documents", align="left"))
    uploads = Uploads(client, console, collection=COLLECTION)
    uploads.run([Outgoing(path, path.name) for path in paths], wait=True)
    if uploads.failed:
        raise DemoError("Not all samples could be read.")


def _ask(client: Client, question: Question) -> Iterator[str]:
    """Show one question with its answer; yields what is wrong with it."""
    console.print()
    console.print(Rule(question.text, align="left"))
    answer = show_answer(console, client.ask(question.text, collection=COLLECTION))
    for problem in _problems(client, question, answer):
        yield f"{question.text} {problem}"


def _problems(client: Client, question: Question, answer: AnswerRecord) -> Iterator[str]:
    if question.expected is None:
        if answer["answerable"] or answer["citations"]:
            yield "The samples do not answer this, but an answer was given."
        return
    if question.expected not in answer["answer"]:
        yield f"The answer does not contain “{question.expected}”."
    places = {(citation["filename"], citation["page"]) for citation in answer["citations"]}
    if (question.filename, question.page) not in places:
        yield f"{question.filename} is not cited{f' with page {question.page}' if question.page else ''}."
    for citation in answer["citations"]:
        text = client.document_text(citation["document_id"])
        if text[citation["start"] : citation["end"]] != citation["quote"]:
            yield f"The quote of footnote {citation['marker']} is not what the document says."


def _serve_on(url: str, server: Popen[bytes]) -> None:
    console.print(f"\nServing at [bold]{url}[/bold] until Ctrl-C. Try in another terminal:")
    command = Path(sys.executable).with_name("footnote")
    console.print(f'  {command} ask --url {url} "What happens at avalanche level 4?"', soft_wrap=True)
    while server.poll() is None:
        time.sleep(0.2)
    raise DemoError("The server ended by itself; its log is in .demo/server.log.")


if __name__ == "__main__":
    typer.run(main)
