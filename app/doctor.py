"""Look at an installation, say in plain words what is well, what is not and what to do, and mend what can be mended."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from sqlalchemy import text
from sqlalchemy.exc import DatabaseError

from app.bootstrap import Core, build_core
from app.cli_output import printable
from app.config import Settings
from app.errors import ConfigurationError, EmbeddingModelMismatch, FootnoteError
from app.index.durable import exclusive
from app.index.manifest import LOCK, collect_garbage
from app.store import originals
from app.store.collections import list_collections
from app.store.copies import database_file
from app.store.documents import count_by_status
from app.store.jobs import count_abandoned, count_by_state, hand_back
from app.store.spaces import index_names
from app.store.uploads import sweep_blobs
from app.types import DocumentStatus, JobState

_LITTLE_DISK_BYTES = 1024**3
_MOST_NAMES = 10
_STALE_SECONDS = 24 * 3600.0  # what is younger may still be written
_LOCK_TIMEOUT_SECONDS = 30.0
_RESTORE = "stop Footnote, move {file} and what begins with its name away, and run `footnote restore DIR` with a backup"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    subject: str
    is_well: bool
    message: str


def run(settings: Settings, *, repair: bool = False, rebuild: bool = False, console: Console | None = None) -> int:
    """Print what was found; 0 when all is well, 1 otherwise.

    `repair` mends first what can be mended without losing anything; `rebuild` makes every index anew first.
    """
    console = console or Console(highlight=False)
    try:
        lost = _lost_database(settings)
        if lost is not None:
            return _show(console, [lost])
        with build_core(settings) as core:
            if rebuild:
                _rebuild(core, console)
            if repair:
                for message in mend(core):
                    console.print(f"[yellow]+[/] {escape(printable(message))}", soft_wrap=True)
            return _show(console, examine(core))
    except (FootnoteError, DatabaseError, OSError) as error:
        return _show(console, [_refused(settings, error)])


def _show(console: Console, findings: Iterable[Finding]) -> int:
    sound = True
    with console.status("checking") if console.is_terminal else nullcontext():
        for finding in findings:
            sound = sound and finding.is_well
            mark = "[green]✓[/]" if finding.is_well else "[red]✗[/]"
            line = escape(printable(f"{finding.subject}: {finding.message}"))
            console.print(f"{mark} {line}", soft_wrap=True)
    return 0 if sound else 1


def _lost_database(settings: Settings) -> Finding | None:
    """Originals without a database, before an empty one is made beside them; None where it is as it should be."""
    try:
        file = database_file(settings)
    except ConfigurationError:  # another database, which lies elsewhere
        return None
    blobs = [path for path in settings.blobs_dir.glob("*") if path.is_file()]
    if file.exists() or not blobs:
        return None
    message = (
        f"there is none at {file}, but {len(blobs)} originals are in {settings.blobs_dir}. If a restore was "
        "interrupted, run it again; else restore a backup. Do not start Footnote before: it would begin with an empty "
        "database."
    )
    return Finding("Database", False, message)


def _refused(settings: Settings, error: Exception) -> Finding:
    if not isinstance(error, DatabaseError):
        return Finding("Not finished", False, error.message if isinstance(error, FootnoteError) else str(error))
    try:
        advice = f"; {_RESTORE.format(file=database_file(settings))}"
    except ConfigurationError:
        advice = ""
    return Finding("Database", False, f"it cannot be read: {error.orig}{advice}")


def examine(core: Core) -> Iterator[Finding]:
    """Every check, one after the other; where the database is damaged, none that would have to believe it."""
    yield from _database(core)
    damage = _damage(core)
    if damage is not None:
        advice = _RESTORE.format(file=core.database.url.database)
        yield Finding("Integrity", False, f"the database is damaged: {damage}; {advice}. Nothing else was looked at")
        return
    if core.database.is_sqlite:
        yield Finding("Integrity", True, "every page of the database is whole")
    checks: list[Callable[[Core], Iterator[Finding]]] = [_documents, _originals, _indexes, _leftovers]
    for check in (*checks, _embedding, _disk):
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
    is_durable = mode == "wal" and synchronous == 2
    yield Finding("Durability", is_durable, f"journal mode {mode}, synchronous {synchronous} (WAL and 2 are expected)")


def _damage(core: Core) -> str | None:
    """What SQLite finds wrong with its file; None where it finds nothing, and for a database that sees to itself."""
    if not core.database.is_sqlite:
        return None
    with core.database.read() as connection:
        found = "; ".join(connection.scalars(text("PRAGMA integrity_check(3)")))
    return None if found == "ok" else " ".join(found.split())


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
        message += f", {abandoned} left behind by a worker that is gone: start one, or run `footnote doctor --repair`"
    yield Finding("Jobs", not abandoned, message)


def _originals(core: Core) -> Iterator[Finding]:
    with core.database.read() as connection:
        needed = sorted(originals.needed(connection))
    if not needed and core.blobs.stored():
        message = (
            f"the database names none, but {len(core.blobs.stored())} are there: is it the right database? "
            "A worker that starts removes them."
        )
        yield Finding("Originals", False, message)
        return
    bad: dict[str, list[str]] = {}
    for sha256 in needed:
        state = _state(core, sha256)
        if state is not None:
            bad.setdefault(state, []).append(sha256)
    for state, digests in bad.items():
        yield Finding("Originals", False, _of_documents(core, state, digests))
    if not bad:
        yield Finding("Originals", True, f"{len(needed)} are in place, with the right checksums")


def _state(core: Core, sha256: str) -> str | None:
    """What is wrong with an original, if anything is."""
    try:
        return None if originals.is_intact(core.blobs.path(sha256)) else "not what was uploaded: the checksum differs"
    except FileNotFoundError:  # its document may be gone as well
        return "missing" if originals.is_lost(core.database, core.blobs, sha256) else None
    except OSError as error:
        return f"not readable: {error.strerror}"


def _of_documents(core: Core, state: str, digests: Sequence[str]) -> str:
    with core.database.read() as connection:
        names = originals.names(connection, digests)
    listed = ", ".join(names[:_MOST_NAMES]) + (f" and {len(names) - _MOST_NAMES} more" if names[_MOST_NAMES:] else "")
    return f"{len(digests)} {state}. They belong to {listed}. Restore a backup, or upload these files again"


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
            advice = "; run `footnote doctor --repair`, or let a running worker do it"
            yield Finding(subject, False, "; ".join(problems) + advice)
            continue
        found = index.describe()
        segments = f"{len(found.segments)} segments" if len(found.segments) != 1 else "1 segment"
        yield Finding(
            subject,
            True,
            f"{found.rows} chunks in {segments}, {found.bytes / 1e6:.1f} MB, generation {found.generation}",
        )


def _leftovers(core: Core) -> Iterator[Finding]:
    found = _left(core)
    message = f"{len(found)} that nothing needs; a worker removes them, and so does `footnote doctor --repair`"
    yield Finding("Leftovers", True, message if found else "none")


def _left(core: Core) -> set[Path]:
    """Files and folders that nothing needs: of interrupted uploads and publishes, and of what was deleted."""
    stored, folders = core.blobs.stored(), list(core.settings.index_dir.glob("col_*"))
    with core.database.read() as connection:
        needed = originals.needed(connection)
        names = index_names(connection)
    unused = {core.blobs.path(sha256) for sha256 in stored if sha256 not in needed}
    deleted = {folder for folder in folders if folder.name not in names}
    uploads = core.settings.blobs_dir.glob("incoming/*")
    publishes = (file for folder in folders for pattern in (".*.tmp", "*/.*.tmp") for file in folder.glob(pattern))
    stale = {path for paths in (uploads, publishes) for path in paths if _is_stale(path)}
    return unused | deleted | stale


def _is_stale(path: Path) -> bool:
    try:
        return path.stat().st_mtime < time.time() - _STALE_SECONDS
    except FileNotFoundError:
        return False


def _embedding(core: Core) -> Iterator[Finding]:
    with core.database.read() as connection:
        collections = list_collections(connection)
    refused = []
    for collection in collections:
        try:
            core.embedders.model_of(collection)
        except EmbeddingModelMismatch as error:
            refused.append(error.message)
        if collection.next_model is not None:
            message = (
                f"a reindex with {collection.next_model} is under way, or was interrupted: the same command goes on"
            )
            yield Finding(f"Reindex of {collection.name!r}", True, message)
    yield Finding("Embedding model", not refused, " ".join(refused) or core.embedders.configured)


def _disk(core: Core) -> Iterator[Finding]:
    free = shutil.disk_usage(core.settings.data_dir).free
    yield Finding("Disk", free >= _LITTLE_DISK_BYTES, f"{free / 1e9:.1f} GB free in {core.settings.data_dir}")


def mend(core: Core) -> Iterator[str]:
    """Mend what can be mended without losing anything; in plain words, what was done."""
    if _damage(core) is not None:
        yield "Nothing was repaired: the database is damaged, and everything else is judged by it"
        return
    with core.database.write() as connection:
        abandoned = hand_back(connection, time.time(), only_abandoned=True)
    if abandoned:
        yield f"Jobs: {abandoned} left behind by a worker that is gone are in the queue again"
    yield from _mend_indexes(core)
    yield from _remove_leftovers(core)


def _mend_indexes(core: Core) -> Iterator[str]:
    with core.database.read() as connection:
        collections = list_collections(connection)
    for collection in collections:
        problems = core.projection.problems(collection)
        if not problems:
            continue
        core.projection.sync(collection.id)
        done = "brought up to date"
        if core.projection.problems(collection):
            core.projection.rebuild(collection.id)
            done = "made anew from the database"
        yield f"Index of {collection.name!r}: {done} ({'; '.join(problems)})"


def _remove_leftovers(core: Core) -> Iterator[str]:
    """Each kind in the way in which a worker removes it."""
    with core.database.read() as connection:
        has_originals = bool(originals.needed(connection))
    before = _left(core)
    if has_originals:  # else it may be the wrong database: what it does not name is not garbage
        sweep_blobs(core.database, core.blobs)
    core.projection.sweep()
    for folder in core.settings.index_dir.glob("col_*"):
        if (folder / LOCK).exists():
            with exclusive(folder / LOCK, _LOCK_TIMEOUT_SECONDS):
                collect_garbage(folder)
    removed = len(before - _left(core))
    if removed:
        yield f"Leftovers: {removed} that nothing needs are removed"


def _rebuild(core: Core, console: Console) -> None:
    with core.database.read() as connection:
        collections = list_collections(connection)
    for collection in collections:
        with console.status(f"rebuilding the index of {collection.name!r}") as status:

            def report(chunks: int, name: str = collection.name) -> None:
                status.update(f"rebuilding the index of {name!r}: {chunks:,} chunks")

            core.projection.rebuild(collection.id, report)
