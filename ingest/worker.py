"""The worker: claims jobs, works on several at once, keeps their leases alive, and stops when told."""

from __future__ import annotations

import logging
import os
import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

from app.config import Settings
from app.errors import EmbeddingModelMismatch, FootnoteError, IngestionError, LeaseLost, StorageFull, Unavailable
from app.failpoints import failpoint
from app.projection import Projection
from app.store import jobs
from app.store.blobs import BlobStore
from app.store.database import Database
from app.store.uploads import sweep_blobs
from app.types import Job
from ingest.pipeline import Pipeline, Stopping

logger = logging.getLogger(__name__)

_POLL_SECONDS = 0.2
_HOUSEKEEPING_SECONDS = 2.0
_SWEEP_SECONDS = 3600.0
_LOWEST_PRIORITY = 19
# Small documents are worked on together: they share transactions, a publish, and full batches of the embedder.
_JOBS_TOGETHER = 64
_BYTES_TOGETHER = 256 * 1024


class Worker:
    """Runs until `stop` is called: a few threads for jobs, and one each for leases, housekeeping and merges."""

    def __init__(
        self,
        *,
        database: Database,
        blobs: BlobStore,
        projection: Projection,
        pipeline: Pipeline,
        settings: Settings,
        heartbeat_file: Path | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`heartbeat_file` is touched each time the leases have been renewed."""
        self._heartbeat_file = heartbeat_file
        self._database = database
        self._blobs = blobs
        self._projection = projection
        self._pipeline = pipeline
        self._settings = settings
        self._clock = clock
        self._owner = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:6]}"
        self._stop = threading.Event()
        self._leased: dict[int, Job] = {}
        self._leased_lock = threading.Lock()
        self._asking = threading.Lock()
        self._failure: BaseException | None = None

    def stop(self) -> None:
        """Claim nothing more; jobs in work are handed back at their next pause. Safe in a signal handler."""
        self._stop.set()

    def run(self) -> None:
        """Blocks until stopped. Raises what a thread died of: a worker that is not whole must not go on."""
        loops = [self._work] * self._settings.worker_concurrency + [self._keep_leases, self._keep_house, self._merge]
        threads = [
            threading.Thread(target=self._supervised, args=(loop,), name=f"{loop.__name__.strip('_')}-{i}")
            for i, loop in enumerate(loops)
        ]
        logger.info("worker %s started", self._owner)
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        logger.info("worker %s stopped", self._owner)
        if self._failure is not None:
            raise self._failure

    def _supervised(self, loop: Callable[[], None]) -> None:
        try:
            loop()
        except BaseException as error:
            logger.exception("a thread of the worker died")
            self._failure = error
            self._stop.set()

    def _work(self) -> None:
        while batch := self._next_jobs():
            with self._leased_lock:
                self._leased.update((job.id, job) for job in batch)
            try:
                self._process(batch)
            finally:
                with self._leased_lock:
                    for job in batch:
                        self._leased.pop(job.id, None)

    def _next_jobs(self) -> list[Job]:
        """Wait for jobs; none when the worker stops. One idle thread asks for all."""
        with self._asking:
            while not self._stop.is_set():
                try:
                    if batch := self._claim():
                        return batch
                    self._stop.wait(_POLL_SECONDS)
                except FootnoteError as error:  # a full disk, a database out of reach: wait for better times
                    logger.warning("no job could be claimed: %s", error.message)
                    self._stop.wait(_HOUSEKEEPING_SECONDS)
        return []

    def _claim(self) -> list[Job]:
        with self._database.read() as connection:
            if not jobs.is_any_due(connection, self._clock(), self._settings.lease_seconds):
                return []
        with self._database.write() as connection:
            claimed = jobs.claim(
                connection,
                owner=self._owner,
                lease_seconds=self._settings.lease_seconds,
                max_attempts=self._settings.max_attempts,
                now=self._clock(),
                most_jobs=_JOBS_TOGETHER,
                most_bytes=_BYTES_TOGETHER,
            )
        failpoint("job.claimed")
        return claimed

    def _process(self, batch: Sequence[Job]) -> None:
        started = time.perf_counter()
        for job, error in self._pipeline.run(batch, self._stop.is_set).items():
            match error:
                case None:
                    seconds = time.perf_counter() - started
                    logger.info("%s version %d is ready (%.1f s)", job.document_id, job.version, seconds)
                case LeaseLost():
                    logger.info("%s: deleted, replaced, or taken over by another worker", job.document_id)
                case Stopping():
                    self._settle(job, lambda connection, job=job: jobs.release(connection, job, self._clock()))
                case IngestionError() | EmbeddingModelMismatch():
                    logger.warning("%s failed: %s", job.document_id, error.message)
                    self._give_up(job, error.code, error.message)
                case Unavailable() | StorageFull():
                    logger.warning("%s waits: %s", job.document_id, error.message)
                    self._settle(job, lambda connection, job=job: jobs.postpone(connection, job, self._clock()))
                case _:
                    self._fail_or_retry(job, error)

    def _fail_or_retry(self, job: Job, error: Exception) -> None:
        logger.error("%s: attempt %d failed", job.document_id, job.attempt, exc_info=error)
        if isinstance(error, FootnoteError):
            code, message = error.code, error.message
        else:
            code, message = "internal_error", f"An unexpected error: {type(error).__name__}: {error}"
        if job.attempt >= self._settings.max_attempts:
            self._give_up(job, code, message)
        else:
            self._settle(job, lambda connection: jobs.retry_later(connection, job, code, message, self._clock()))

    def _give_up(self, job: Job, code: str, message: str) -> None:
        self._settle(job, lambda connection: jobs.fail(connection, job, code, message, self._clock()))

    def _settle(self, job: Job, write: Callable[..., object]) -> None:
        """Record the outcome; if even that cannot be written, the lease runs out and the job is tried again."""
        try:
            with self._database.write() as connection:
                write(connection)
        except LeaseLost:
            logger.info("%s: taken over by another worker", job.document_id)
        except FootnoteError as error:
            logger.warning("%s: the outcome could not be recorded: %s", job.document_id, error.message)

    def _keep_leases(self) -> None:
        """Until the last job is done, also after `stop`."""
        while not self._stop.wait(self._settings.lease_seconds / 3) or self._leased:
            if self._stop.is_set():
                time.sleep(_POLL_SECONDS)
            with self._leased_lock:
                leased = list(self._leased.values())
            try:
                with self._database.write() as connection:
                    jobs.renew(connection, leased, lease_seconds=self._settings.lease_seconds, now=self._clock())
                if self._heartbeat_file is not None:
                    self._heartbeat_file.touch()
            except (FootnoteError, OSError) as error:
                logger.warning("leases could not be renewed: %s", error)

    def _keep_house(self) -> None:
        """What no job does: removals reach the index, damaged indexes are rebuilt, unused blobs go."""
        swept_at = float("-inf")
        while not self._stop.is_set():
            try:
                if time.monotonic() - swept_at > _SWEEP_SECONDS:
                    swept_at = time.monotonic()
                    sweep_blobs(self._database, self._blobs)
                self._projection.sync_all()
            except (FootnoteError, OSError) as error:
                logger.warning("housekeeping failed: %s", error)
            self._stop.wait(_HOUSEKEEPING_SECONDS)

    def _merge(self) -> None:
        """Segments are merged one after the other, at the lowest priority: searches come first."""
        if sys.platform == "linux":  # where it is of this thread alone
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _LOWEST_PRIORITY)
        while not self._stop.is_set():
            try:
                if self._projection.merge(self._stop.is_set):
                    continue
            except (FootnoteError, OSError) as error:
                logger.warning("a merge failed: %s", error)
            self._stop.wait(_HOUSEKEEPING_SECONDS)
