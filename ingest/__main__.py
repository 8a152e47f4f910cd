"""Command line of the ingestion side: `python -m ingest worker | add PATH…`."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from app.bootstrap import Core, build_core
from app.config import Settings
from app.cores import available_cores
from app.errors import FootnoteError
from app.media_types import detect
from app.store.collections import DEFAULT_COLLECTION
from app.store.uploads import Accepted, accept
from app.telemetry import configure_logging
from ingest.pipeline import Pipeline
from ingest.sandbox import ParserPool
from ingest.worker import Worker

logger = logging.getLogger(__name__)
_READ_BYTES = 1024 * 1024
# On a machine that both share, whoever searches comes first; of the rest the worker still has all.
_NICE = 10
_M_ARENA_MAX, _MOST_HEAPS = -8, 2  # as in glibc's malloc.h
cli = typer.Typer(no_args_is_help=True, add_completion=False)


@cli.command()
def worker(
    supervised: Annotated[
        bool, typer.Option(hidden=True, help="Stop when standard input closes: the server that started it is gone.")
    ] = False,
    heartbeat_file: Annotated[
        Path | None, typer.Option(help="Touched several times a minute while the worker is well, for a health check.")
    ] = None,
) -> None:
    """Ingest documents until stopped (SIGTERM, Ctrl-C). Several may run at once."""
    settings = Settings()
    configure_logging(settings.log_level)
    if hasattr(os, "nice"):  # not on Windows
        os.nice(_NICE)  # before there are threads and parsers, which are as patient
    _share_freed_memory()
    with (
        build_core(settings) as core,
        ParserPool(
            min(settings.worker_concurrency, available_cores()), settings.parse_limits, pdf_engine=settings.pdf_engine
        ) as parsers,
    ):
        embedder = core.embedders.start()
        parsers.warm()
        embedder.wait()  # no job is claimed, and no attempt counted, before the model is there
        pipeline = Pipeline(
            database=core.database,
            blobs=core.blobs,
            projection=core.projection,
            embedders=core.embedders,
            parsers=parsers,
            chunk_tokens=settings.chunk_tokens,
            chunk_overlap_tokens=settings.chunk_overlap_tokens,
        )
        running = Worker(
            database=core.database,
            blobs=core.blobs,
            projection=core.projection,
            pipeline=pipeline,
            settings=settings,
            heartbeat_file=heartbeat_file,
        )
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: running.stop())
        if supervised:
            threading.Thread(target=_stop_with_parent, args=(running,), daemon=True).start()
        running.run()


@cli.command()
def add(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH…", exists=True, help="Files and folders.")],
    collection: Annotated[str, typer.Option("--collection", "-c")] = DEFAULT_COLLECTION,
    password: Annotated[str | None, typer.Option(help="Opens encrypted PDFs; kept until they were read.")] = None,
) -> None:
    """Put files into the queue without a server: a worker ingests them when one runs."""
    settings = Settings()
    configure_logging(settings.log_level)
    failed = 0
    with build_core(settings) as core:
        for path in _files(paths):
            try:
                accepted = _accept(core, path, collection, password)
            except (FootnoteError, OSError) as error:
                failed += 1
                typer.echo(f"{path}: {error}", err=True)
            else:
                known = " (known already)" if accepted.duplicate else ""
                typer.echo(f"{path}: {accepted.document.id}{known}")
    raise typer.Exit(1 if failed else 0)


def _files(paths: list[Path]) -> Iterator[Path]:
    for path in paths:
        yield from sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else (path,)


def _accept(core: Core, path: Path, collection: str, password: str | None) -> Accepted:
    with path.open("rb") as file, core.blobs.writer(core.settings.max_upload_bytes) as writer:
        while data := file.read(_READ_BYTES):
            writer.write(data)
        writer.finish()
        media_type = detect(path.name, writer.head)
        return accept(
            core.database,
            core.blobs,
            writer,
            collection=collection,
            filename=path.name,
            media_type=media_type,
            password=password,
        )


def _share_freed_memory() -> None:
    """glibc gives threads heaps of their own, and what one has freed no other uses: MiB for every thousand files."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:  # musl has none
        mallopt(_M_ARENA_MAX, _MOST_HEAPS)


def _stop_with_parent(running: Worker) -> None:
    """A server that is killed with -9 cannot stop its worker: its end of the pipe closes."""
    # Not through `sys.stdin`: its lock, held by this thread when the interpreter ends, would abort the process.
    while os.read(sys.stdin.fileno(), 1):
        pass
    logger.info("the server is gone")
    running.stop()


if __name__ == "__main__":
    cli()
