"""The command line, `footnote` or `python -m app`.

What needs the models or the database is imported inside its command, so that the others start at once.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table
from rich.text import Text

from app.cli_output import (
    Uploads,
    printable,
    progress_bar,
    show_answer,
    show_documents,
    show_evidence,
    show_passages,
)
from app.cli_sync import Sync, watch
from app.client import Client, ClientError, Outgoing, ServerNotRunning
from app.config import Settings
from app.errors import FootnoteError
from app.types import Mode

cli = typer.Typer(
    help="Ask your own documents; every sentence of an answer carries a footnote.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
documents_cli = typer.Typer(help="Add, list and delete documents.", no_args_is_help=True)
collections_cli = typer.Typer(help="List, create and delete collections.", no_args_is_help=True)
key_cli = typer.Typer(help="API keys that the server's database holds.", no_args_is_help=True)
cli.add_typer(documents_cli, name="documents")
cli.add_typer(collections_cli, name="collections")
cli.add_typer(key_cli, name="key")

out = Console()
errors = Console(stderr=True)

Url = Annotated[str | None, typer.Option("--url", help="The server; by default that of FOOTNOTE_HOST and _PORT.")]
ApiKey = Annotated[str | None, typer.Option("--api-key", help="By default the first of FOOTNOTE_API_KEYS.")]
CollectionName = Annotated[str, typer.Option("--collection", "-c", help="The collection to use.")]
TopK = Annotated[int | None, typer.Option("--top-k", "-k", min=1, help="How many passages to find.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the server's JSON.")]


@cli.command()
def serve(
    host: Annotated[str | None, typer.Option(help="The address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="The port to listen on.")] = None,
    worker: Annotated[bool, typer.Option(help="Run a worker beside the server.")] = True,
    processes: Annotated[int, typer.Option(min=1, max=64, help="Processes that answer; each loads the model.")] = 1,
) -> None:
    """Serve the API and the web page, with a worker that reads the documents."""
    from app.server import serve as run_server

    given: dict[str, Any] = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    run_server(Settings(**given), worker=worker, processes=processes)


@cli.command()
def ask(
    question: str,
    collection: CollectionName = "default",
    top_k: TopK = None,
    mode: Annotated[Mode | None, typer.Option(help="By the language model, or from the documents alone.")] = None,
    conversation: Annotated[
        str | None, typer.Option(metavar="ID", help="Go on with a conversation, or begin one of that name.")
    ] = None,
    as_json: AsJson = False,
    stream: Annotated[bool, typer.Option(help="Print the answer while it is written.")] = True,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Ask a question and print the answer with its footnotes."""
    asked: dict[str, Any] = {"collection": collection, "top_k": top_k, "mode": mode, "conversation_id": conversation}
    with _client(url, api_key) as client:
        if stream and not as_json:
            show_answer(out, client.ask(question, **asked))
            return
        answer = client.answer(question, **asked)
    if as_json:
        typer.echo(json.dumps(answer, ensure_ascii=False, indent=2))
    else:
        out.print(printable(answer["answer"]), markup=False, highlight=False, soft_wrap=True)
        show_evidence(out, answer)


@cli.command()
def search(
    query: str,
    collection: CollectionName = "default",
    top_k: TopK = None,
    as_json: AsJson = False,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Find the passages that fit a query best."""
    with _client(url, api_key) as client:
        passages = client.search(query, collection=collection, top_k=top_k)
    if as_json:
        typer.echo(json.dumps(passages, ensure_ascii=False, indent=2))
    else:
        show_passages(out, passages)


@cli.command()
def calibrate(
    dataset: Annotated[Path, typer.Argument(metavar="DATASET", exists=True, dir_okay=False, help="JSON lines.")],
    collection: CollectionName = "default",
    max_refused: Annotated[
        float,
        typer.Option("--max-refused", min=0, max=0.5, help="Of the answerable questions, refuse at most this share."),
    ] = 0.02,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would change.")] = False,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Set a collection's confidence, and its threshold, by questions whose answers are known.

    Each line of DATASET is a JSON object: {"question": "…", "answerable": true}, or false where no document answers
    it; or {"question": "…", "answers": ["…"]}, where none means not answerable; or with "documents": ["…"], the ids,
    external ids or file names of all documents that answer it: then it is asked a second time without them.

    It takes 10 questions of each kind, and does better with 100. Confidence is a probability where answerable questions
    are as frequent as in DATASET.
    """
    from app.cli_calibrate import calibrate as run

    with _client(url, api_key) as client:
        run(client, out, dataset, collection=collection, most_refused=max_refused, dry_run=dry_run)


@cli.command()
def doctor(
    repair: Annotated[bool, typer.Option("--repair", help="Mend what can be mended without losing anything.")] = False,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Make the index anew.")] = False,
) -> None:
    """Check the database, the files and the index, and say in plain words what is wrong."""
    from app.doctor import run

    raise typer.Exit(run(Settings(), repair=repair, rebuild=rebuild))


@cli.command()
def backup(directory: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that is new or empty.")]) -> None:
    """Copy the database and the originals into a folder, while Footnote is in use."""
    from app import backup as backups

    with _progress() as progress:
        made = backups.backup(Settings(), directory, progress)
    typer.echo(f"Backed up {made.extent} to {printable(str(directory))}")


@cli.command()
def restore(directory: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that `backup` made.")]) -> None:
    """Put a backup into a data directory without a database, and make its index."""
    from app import backup as backups

    settings = Settings()
    with _progress() as progress:
        found = backups.restore(settings, directory, progress)
    typer.echo(f"Restored {found.extent} of {found.created_at} to {printable(str(settings.data_dir))}")


@cli.command()
def reindex(
    collection: Annotated[str, typer.Argument(metavar="COLLECTION")],
    model: Annotated[str | None, typer.Option("--model", help="A path, or a name on a hub.")] = None,
    rollback: Annotated[bool, typer.Option("--rollback", help="Go back to the model before.")] = False,
    prune: Annotated[bool, typer.Option("--prune", help="Remove what is left of other models.")] = False,
) -> None:
    """Give a collection another embedding model, while the old one answers; or go back."""
    if [model is not None, rollback, prune].count(True) != 1:
        raise typer.BadParameter("give one of --model, --rollback and --prune")
    from app import reindexing
    from app.bootstrap import build_core

    name = printable(collection)
    with build_core(Settings()) as core, _progress() as progress:
        if prune:
            reindexing.prune(core, collection, progress)
            message = f"Nothing is left of other models of {name}."
        elif rollback:
            message = f"{name} answers with {reindexing.roll_back(core, collection, progress)} again."
        elif model is not None and reindexing.reindex(core, collection, model, progress):
            message = (
                f"{name} answers with {model} from now on. `footnote reindex {name} --rollback` goes back; "
                f"`--prune` removes what that needs."
            )
        else:
            message = f"{name} answers with {model} already."
    typer.echo(message)


@cli.command()
def mcp(url: Url = None, api_key: ApiKey = None) -> None:
    """Give a running server's documents to a program that speaks MCP over standard input and output."""
    from app.cli_mcp import serve_stdio

    with _client(url, api_key) as client:
        serve_stdio(client)


@documents_cli.command("add")
def add_documents(
    sources: Annotated[list[str], typer.Argument(metavar="PATH|URL…", help="Files, folders, and http(s) URLs.")],
    collection: CollectionName = "default",
    wait: Annotated[bool, typer.Option(help="Wait until all can be searched.")] = True,
    password: Annotated[str | None, typer.Option(help="Opens encrypted PDFs; kept until they were read.")] = None,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Upload files, all files in folders, and what URLs lead to, and follow them until they can be searched."""
    uploaded = [replace(each, password=password) for each in _sources(sources)]
    with _client(url, api_key) as client:
        uploads = Uploads(client, out, collection=collection)
        uploads.run(uploaded, wait=wait)
    if uploads.failed:
        _complain(f"{uploads.failed} of {len(uploaded)} files failed.")
        raise typer.Exit(1)


@documents_cli.command("sync")
def sync_documents(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The folder.")],
    collection: CollectionName = "default",
    name: Annotated[str | None, typer.Option(help="Marks its documents; by default the folder's name.")] = None,
    watching: Annotated[bool, typer.Option("--watch", help="Stay, and follow what changes, until Ctrl-C.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try again what failed before.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Even if that removes all documents synced before.")] = False,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Make a collection mirror a folder: add, replace and remove documents. Others in the collection are left alone."""
    if watching and dry_run:
        raise typer.BadParameter("--watch and --dry-run do not go together")
    with _client(url, api_key) as client:
        sync = Sync(
            client,
            out,
            directory,
            collection=collection,
            name=name,
            retry_failed=retry_failed,
            remove_all=yes,
            dry_run=dry_run,
        )
        if watching:
            watch(sync, complain=_complain)
        elif sync.run().failed:
            raise typer.Exit(1)


@documents_cli.command("list")
def list_documents(
    collection: Annotated[str | None, typer.Option("--collection", "-c", help="Only this collection.")] = None,
    as_json: AsJson = False,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """List the documents with their state."""
    with _client(url, api_key) as client:
        documents = list(client.documents(collection=collection))
    if as_json:
        typer.echo(json.dumps(documents, ensure_ascii=False, indent=2))
    else:
        show_documents(out, documents)


@documents_cli.command("delete")
def delete_documents(
    ids: Annotated[list[str], typer.Argument(metavar="ID…")], url: Url = None, api_key: ApiKey = None
) -> None:
    """Delete documents: from then on no answer uses them."""
    failed = False
    with _client(url, api_key) as client:
        for document_id in ids:
            try:
                client.delete_document(document_id)
            except ServerNotRunning:
                raise
            except ClientError as error:
                failed = True
                _complain(f"{document_id}: {error.message}")
            else:
                typer.echo(f"{document_id} deleted")
    raise typer.Exit(1 if failed else 0)


@collections_cli.command("list")
def list_collections(url: Url = None, api_key: ApiKey = None) -> None:
    """List the collections."""
    with _client(url, api_key) as client:
        for collection in client.collections():
            typer.echo(printable(collection["name"]))


@collections_cli.command("create")
def create_collection(name: str, url: Url = None, api_key: ApiKey = None) -> None:
    """Create an empty collection."""
    with _client(url, api_key) as client:
        typer.echo(f"{client.create_collection(name)['name']} created")


@collections_cli.command("delete")
def delete_collection(name: str, url: Url = None, api_key: ApiKey = None) -> None:
    """Delete a collection with all its documents."""
    with _client(url, api_key) as client:
        client.delete_collection(name)
    typer.echo(f"{name} deleted")


@key_cli.command("create")
def create_key(name: Annotated[str, typer.Argument(help="Who or what will use it.")]) -> None:
    """Make a key and print it, this once: only its digest is stored."""
    from app.store import keys
    from app.store.database import open_database

    with open_database(Settings()) as database, database.write() as connection:
        key_id, secret = keys.create_key(connection, name, time.time())
    _complain(f"{key_id} created; its secret cannot be shown again:")
    typer.echo(secret)


@key_cli.command("list")
def list_keys() -> None:
    """List the keys, without their secrets."""
    from app.store import keys
    from app.store.database import open_database

    with open_database(Settings()) as database, database.read() as connection:
        found = keys.list_keys(connection)
    table = Table("id", "name", "created", "revoked", box=None, pad_edge=False)
    for key in found:
        revoked = f"{key.revoked_at:%F %R}" if key.revoked_at else ""
        table.add_row(key.id, Text(printable(key.name)), f"{key.created_at:%F %R}", revoked)
    out.print(table)


@key_cli.command("revoke")
def revoke_key(key_id: str) -> None:
    """Revoke a key: from now on it opens nothing."""
    from app.store import keys
    from app.store.database import open_database

    with open_database(Settings()) as database, database.write() as connection:
        keys.revoke_key(connection, key_id, time.time())
    typer.echo(f"{key_id} revoked")


def _client(url: str | None, api_key: str | None) -> Client:
    settings = Settings()
    if api_key is None and settings.api_keys:
        api_key = settings.api_keys[0].get_secret_value()
    return Client(url or _own_url(settings), api_key)


def _own_url(settings: Settings) -> str:
    # A server that listens on every address answers on this machine's own, too.
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104
    return f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"


def _sources(sources: Sequence[str]) -> Iterator[Outgoing]:
    """URLs and files themselves; of folders all files below, without hidden ones."""
    for source in sources:
        path = Path(source)
        if source.lower().startswith(("http://", "https://")):
            yield Outgoing(source, source)
        elif path.is_dir():
            for file in sorted(file for file in path.rglob("*") if file.is_file()):
                name = file.relative_to(path)
                if not any(part.startswith(".") for part in name.parts):
                    yield Outgoing(file, name.as_posix())
        elif path.exists():
            yield Outgoing(path, path.name)
        else:
            raise typer.BadParameter(f"Path {source!r} does not exist.", param_hint="PATH|URL…")


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    """A bar for one thing after the other; what it yields is told what is being done, how many are done, and of how
    many."""
    with progress_bar(out) as bar:
        task = bar.add_task("", total=None, doing="")
        yield lambda what, done, total: bar.update(task, doing=printable(what), completed=done, total=total)


def _complain(message: str) -> None:
    errors.print(printable(message), markup=False, highlight=False, soft_wrap=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command. Exit codes: 0 done, 1 it failed, 2 wrong usage, or no server to talk to."""
    try:
        cli(args=arguments)
    except ServerNotRunning as error:
        _complain(error.message)
        sys.exit(2)
    except FootnoteError as error:
        _complain(error.message)
        sys.exit(1)
    except ValidationError as error:
        for problem in error.errors():
            _complain(f"FOOTNOTE_{'__'.join(map(str, problem['loc'])).upper()}: {problem['msg']}")
        sys.exit(2)


if __name__ == "__main__":
    main()
