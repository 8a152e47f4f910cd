"""Look at an installation and say in plain words what is well, what is not, and what to do."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from rich.console import Console
from rich.markup import escape
from sqlalchemy import text

from app.bootstrap import Core, build_core
from app.config import Settings
from app.errors import FootnoteError
from app.store.collections import list_collections
from app.store.documents import count_by_status
from app.store.jobs import count_abandoned, count_by_state
from app.types import DocumentStatus, JobState

_LITTLE_DISK_BYTES = 1024**3


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    subject: str
    is_well: bool
    message: str


def run(settings: Settings, *, rebuild: bool = False, console: Console | None = None) -> int:
    """Print what was found; 0 when all is well, 1 otherwise. `rebuild` makes every index anew first."""
    console = console or Console(highlight=False)
    sound = True
    try:
        with build_core(settings) as core:
            if rebuild:
                _rebuild(core, console)
            for finding in examine(core):
                sound = sound and finding.is_well
                mark = "[green]✓[/]" if finding.is_well else "[red]✗[/]"
                console.print(f"{mark} {finding.subject}: {escape(finding.message)}", soft_wrap=True)
    except FootnoteError as error:
        console.print(f"[red]✗[/] {escape(error.message)}", soft_wrap=True)
        return 1
    return 0 if sound else 1


def examine(core: Core) -> Iterator[Finding]:
    """Every check, one after the other."""
    checks: list[Callable[[Core], Iterator[Finding]]] = [_database, _documents, _blobs, _indexes, _embedding, _disk]
    for check in checks:
        yield from check(core)


def _database(core: Core) -> Iterator[Finding]:
    problem = core.database.library_problem()
    yield Finding(
        "SQLite library" if core.database.is_sqlite else "Database", problem is None, problem or "safe to use"
    )
    if not core.database.is_sqlite:
        return
    with core.database.read() as connection:
        mode = connection.scalar(text("PRAGMA journal_mode"))
        synchronous = connection.scalar(text("PRAGMA synchronous"))
        integrity = connection.scalar(text("PRAGMA integrity_check"))
    is_durable = mode == "wal" and synchronous == 2
    yield Finding("Durability", is_durable, f"journal mode {mode}, synchronous {synchronous} (WAL and 2 are expected)")
    yield Finding("Integrity", integrity == "ok", str(integrity))


def _documents(core: Core) -> Iterator[Finding]:
    with core.database.read() as connection:
        statuses, states = count_by_status(connection), count_by_state(connection)
        abandoned = count_abandoned(connection, time.time())
    total = sum(statuses.values())
    failed = statuses.get(DocumentStatus.FAILED, 0)
    waiting = states.get(JobState.QUEUED, 0) + states.get(JobState.RUNNING, 0)
    yield Finding("Documents", True, f"{total} in all, {statuses.get(DocumentStatus.READY, 0)} ready, {failed} failed")
    message = f"{waiting} waiting or in work"
    if abandoned:
        message += f", {abandoned} left behind by a worker that is gone: start one"
    yield Finding("Jobs", not abandoned, message)


def _blobs(core: Core) -> Iterator[Finding]:
    with core.database.read() as connection:
        needed = set(connection.scalars(text("SELECT DISTINCT sha256 FROM versions")))
    missing = needed.difference(core.blobs.stored())
    message = f"{len(missing)} originals are missing" if missing else f"{len(needed)} originals are in place"
    yield Finding("Originals", not missing, message)


def _indexes(core: Core) -> Iterator[Finding]:
    with core.database.read() as connection:
        collections = list_collections(connection)
    for collection in collections:
        subject = f"Index of {collection.name!r}"
        index = core.projection.index(collection)
        if index is None:
            yield Finding(subject, True, "nothing was embedded yet")
            continue
        problems = core.projection.problems(collection)
        if problems:
            advice = "; run `footnote doctor --rebuild`, or let a running worker do it"
            yield Finding(subject, False, "; ".join(problems) + advice)
            continue
        found = index.describe()
        segments = f"{len(found.segments)} segments" if len(found.segments) != 1 else "1 segment"
        yield Finding(
            subject,
            True,
            f"{found.rows} chunks in {segments}, {found.bytes / 1e6:.1f} MB, generation {found.generation}",
        )


def _embedding(core: Core) -> Iterator[Finding]:
    configured = core.settings.embedding_model
    with core.database.read() as connection:
        others = [
            collection.name
            for collection in list_collections(connection)
            if collection.embedding_model not in (None, configured)
        ]
    if others:
        yield Finding(
            "Embedding model", False, f"{configured}, but these collections have another: {', '.join(others)}"
        )
    else:
        yield Finding("Embedding model", True, configured)


def _disk(core: Core) -> Iterator[Finding]:
    free = shutil.disk_usage(core.settings.data_dir).free
    yield Finding("Disk", free >= _LITTLE_DISK_BYTES, f"{free / 1e9:.1f} GB free in {core.settings.data_dir}")


def _rebuild(core: Core, console: Console) -> None:
    with core.database.read() as connection:
        collections = list_collections(connection)
    for collection in collections:
        with console.status(f"rebuilding the index of {collection.name!r}") as status:

            def report(chunks: int, name: str = collection.name) -> None:
                status.update(f"rebuilding the index of {name!r}: {chunks:,} chunks")

            core.projection.rebuild(collection.id, report)
