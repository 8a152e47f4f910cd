"""`footnote documents sync`: carries out what `app.folder_sync` plans, says what was done, and watches the folder."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from app.cli_output import Uploads, printable
from app.client import Client, ClientError
from app.errors import FootnoteError
from app.folder import Contents, Folder, State
from app.folder_sync import Mirror, Plan, make_plan

_LOOK_SECONDS = 2.0  # a file that did not change from one look to the next has been written
_LOOKING_SHARE = 0.05  # of the time, where one look takes long
_LONGEST_PAUSE_SECONDS = 60.0  # before another try


@dataclass(frozen=True, slots=True)
class Outcome:
    """How many documents; `passing` are those of the failed that another try may not meet again."""

    added: int = 0
    replaced: int = 0
    removed: int = 0
    unchanged: int = 0
    skipped: int = 0
    failed: int = 0
    passing: int = 0

    def __str__(self) -> str:
        names = ("added", "replaced", "removed", "unchanged", "skipped", "failed")
        return ", ".join(f"{getattr(self, name)} {name}" for name in names)


class Sync:
    """One folder and the collection that mirrors it."""

    def __init__(
        self,
        client: Client,
        console: Console,
        directory: Path,
        *,
        collection: str,
        name: str | None = None,
        retry_failed: bool = False,
        remove_all: bool = False,
        dry_run: bool = False,
    ) -> None:
        self.folder = Folder(directory)
        self._client = client
        self._console = console
        self._collection = collection
        self._mirror = Mirror(self.folder.root.name if name is None else name)
        self._retry_failed = retry_failed
        self._remove_all = remove_all
        self._dry_run = dry_run
        self._has_run = False
        self._reported: dict[str, str] = {}  # reasons by path, so that who watches reads each once

    def run(self, contents: Contents | None = None, waiting: Collection[str] = ()) -> Outcome:
        """Look at the folder unless that was done, compare it with the collection, and carry out the difference."""
        with self._console.status("Comparing …"):
            plan = make_plan(
                self._mirror,
                self.folder,
                contents or self.folder.look(),
                self._client.documents(collection=self._collection),
                waiting=waiting,
                retry_failed=self._retry_failed,
                remove_all=self._remove_all,
            )
        if self._dry_run:
            self._show(plan)
            outcome = self._sum_up(plan)
        else:
            outcome = self._carry_out(plan)
        if not plan.is_empty:
            self._say(f"would be {outcome}" if self._dry_run else str(outcome))
        elif not self._has_run:
            self._say(_nothing_to_do(plan))
        if plan.skipped and not self._has_run:
            self._say(_skipped(plan))
        self._has_run = True
        # They were said of what was found then: who watches does not mean whatever comes.
        self._retry_failed = self._remove_all = False
        return outcome

    def _carry_out(self, plan: Plan) -> Outcome:
        with Uploads(self._client, self._console, collection=self._collection) as uploads:
            self._report(plan.unreadable | plan.failed, uploads)
            # First: a document lets go of its old bytes, which may be those of a new file now.
            uploads.send(plan.replaced)
            uploads.send(plan.retried)
            uploads.send(plan.added)
            for document in plan.unfinished:
                uploads.await_document(document.id, self._mirror.path(document.external_id))
            uploads.follow()
            self._remove(plan, uploads)
        self._reported = plan.unreadable | plan.failed | uploads.failures
        return self._sum_up(plan, uploads.failures, passing=uploads.passing)

    def _report(self, failed: Mapping[str, str], uploads: Uploads) -> None:
        for path, reason in failed.items():
            if self._reported.get(path) != reason:
                uploads.expect(1)
                uploads.fail(path, reason)

    def _remove(self, plan: Plan, uploads: Uploads) -> None:
        paths = {document.id: self._mirror.path(document.external_id) for document in plan.removed}
        uploads.expect(len(paths))
        for document_id, error in self._client.discard_all(paths):
            if error is None:
                uploads.finish(paths[document_id], "removed")
            else:
                uploads.refuse(paths[document_id], error)

    def _sum_up(self, plan: Plan, failures: Collection[str] = (), *, passing: int = 0) -> Outcome:
        def succeeded(paths: Iterable[str]) -> int:
            return sum(path not in failures for path in paths)

        unfinished = [self._mirror.path(document.external_id) for document in plan.unfinished]
        return Outcome(
            added=succeeded(each.name for each in plan.added),
            replaced=succeeded(each.name for each in (*plan.replaced, *plan.retried)),
            removed=plan.moved + succeeded(self._mirror.path(each.external_id) for each in plan.removed),
            unchanged=plan.unchanged - len(unfinished) + succeeded(unfinished),
            skipped=len(plan.skipped),
            failed=len({*plan.unreadable, *plan.failed, *failures}),
            passing=passing,
        )

    def _show(self, plan: Plan) -> None:
        for verb, paths in (
            ("replace", [each.name for each in plan.replaced]),
            ("try again", [each.name for each in plan.retried]),
            ("add", [each.name for each in plan.added]),
            ("remove", [self._mirror.path(each.external_id) for each in plan.removed]),
        ):
            for path in paths:
                self._say(f"would {verb} {path}")
        for path, reason in plan.skipped.items():
            self._say(f"skips {path}: {reason}")
        for path, problem in (plan.unreadable | plan.failed).items():
            self._say(f"fails {path}: {problem}")

    def _say(self, line: str) -> None:
        self._console.print(escape(printable(line)), highlight=False, soft_wrap=True)


def watch(sync: Sync, *, complain: Callable[[str], None], pause: Callable[[float], None] = time.sleep) -> None:
    """Carry out what changes in the folder until Ctrl-C, also while the server or the folder is away for a while.

    It looks again and again, since not every file system tells of changes: those of networks do not.
    """
    try:
        _Watch(sync, complain, pause).run()
    except KeyboardInterrupt:
        return


class _Watch:
    def __init__(self, sync: Sync, complain: Callable[[str], None], pause: Callable[[float], None]) -> None:
        self._sync = sync
        self._complain = complain
        self._pause = pause
        self._before: dict[str, State] | None = None  # what the last look found
        self._carried_out: dict[str, State] | None = None
        self._problem: str | None = None
        self._pause_seconds = 0.0  # beside that between two looks
        self._tries = 0  # that failed, one after the other

    def run(self) -> None:
        while True:
            try:
                self._look()
            except FootnoteError as error:
                if isinstance(error, ClientError) and error.is_final:
                    raise
                self._fail(error)
            self._pause(_LOOK_SECONDS + self._pause_seconds)

    def _look(self) -> None:
        started = time.monotonic()
        contents = self._sync.folder.look()
        before, self._before = self._before, contents.files
        if before is None:
            return
        waiting = {path for path, state in contents.files.items() if before.get(path) != state}
        # A file that is being written counts as what it was before, if it was there.
        known = self._carried_out or {}
        settled = {
            path: known[path] if path in waiting else state
            for path, state in contents.files.items()
            if path not in waiting or path in known
        }
        self._pause_seconds = (time.monotonic() - started) / _LOOKING_SHARE
        if settled == self._carried_out:
            return
        outcome = self._sync.run(contents, waiting)
        if self._problem is not None:
            self._problem = None
            self._complain("It works again.")
        if outcome.passing:
            self._try_again_later()
        else:
            self._carried_out, self._tries = settled, 0

    def _fail(self, error: FootnoteError) -> None:
        if error.message != self._problem:
            self._problem = error.message
            self._complain(error.message)
            self._complain("Trying again until it works.")
        self._try_again_later()

    def _try_again_later(self) -> None:
        self._carried_out = None
        self._tries += 1
        self._pause_seconds = min(_LOOK_SECONDS * 2**self._tries, _LONGEST_PAUSE_SECONDS)


def _nothing_to_do(plan: Plan) -> str:
    failed = f"; {len(plan.failed)} failed before: --retry-failed tries again" if plan.failed else ""
    return f"nothing to do: {_files(plan.unchanged)} up to date{failed}"


def _skipped(plan: Plan) -> str:
    reasons = ", ".join(f"{count} {reason}" for reason, count in Counter(plan.skipped.values()).most_common())
    return f"skipped: {reasons}"


def _files(count: int) -> str:
    return "1 file is" if count == 1 else f"{count} files are"
