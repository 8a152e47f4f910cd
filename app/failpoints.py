"""Named places at which a test can end, stop or starve the process: a test facility, not a setting.

`FOOTNOTE_FAILPOINT=name` kills the process with SIGKILL when it comes to that place, `name:3` at the third time, and
`name=stop` stops it with SIGSTOP. The variable is read once, at import; unset, a place costs one comparison.
"""

from __future__ import annotations

import os
import re
import signal
import threading
from collections.abc import Callable
from typing import Literal, get_args

FailpointName = Literal[
    # A blob
    "blob.written",  # synced, under its temporary name
    "blob.renamed",  # the folder is not synced yet
    "blob.unused",  # a deletion is committed, or a sweep found a blob that nothing names: it is still there
    "blob.removed",
    # An upload and a deletion
    "upload.before_commit",
    "upload.committed",
    "delete.before_commit",
    # A file that is kept for itself, and its place in a collection
    "kept_file.before_commit",
    "kept_file.committed",
    "kept_file.deleted",  # with its documents, in all collections; not committed yet
    "attachment.removed",  # likewise; with other chunks, a new one takes its place
    "attachment.document_made",
    "attachment.made",  # with its job; not committed yet
    # A job
    "job.claimed",
    "job.parsed",
    "job.embedded",
    "chunks.before_commit",
    "chunks.stored",
    "index.synced",
    "live.before_commit",
    "live.committed",
    # A generation of the index
    "file.written",  # synced, under its temporary name: a segment, its ids, a manifest, `CURRENT`
    "file.renamed",  # the folder is not synced yet
    "segment.written",
    "lexical.committed",  # by tantivy; its files are not synced yet
    "lexical.synced",
    "merge.written",  # by the publish itself
    "merge.built",  # by the worker, in a folder of its own
    "merge.moved",  # from where it was built to where segments are
    "manifest.written",
    "current.replaced",
    "garbage.collected",
    # A reindex
    "reindex.begun",
    "reindex.stored",  # the embeddings of some chunks
    "reindex.indexed",
    "reindex.before_commit",  # of the switch
    "reindex.switched",
]
FAILPOINTS: frozenset[FailpointName] = frozenset(get_args(FailpointName))

_SPECIFICATION = re.compile(r"(?P<name>[a-z_.]+)(?::(?P<hit>[1-9]\d*))?(?P<stop>=stop)?")

Action = Callable[[FailpointName], None]
_action: Action | None = None


def failpoint(name: FailpointName) -> None:
    """Nothing, unless a test has armed the failpoints."""
    if _action is not None:
        _action(name)


def arm(action: Action | None) -> None:
    """Call `action` at every failpoint of this process from now on; None: none any more."""
    global _action
    _action = action


def signal_at(specification: str) -> Action:
    """What sends this process its signal at the place that `name`, `name:3` or `name:3=stop` names."""
    parts = _SPECIFICATION.fullmatch(specification)
    if parts is None or parts["name"] not in FAILPOINTS:
        raise ValueError(f"There is no failpoint {specification!r}.")
    name, number = parts["name"], signal.SIGSTOP if parts["stop"] else signal.SIGKILL
    remaining = int(parts["hit"] or 1)
    lock = threading.Lock()

    def act(reached: FailpointName) -> None:
        nonlocal remaining
        if reached != name:
            return
        with lock:
            remaining -= 1
            is_due = remaining == 0
        if is_due:
            os.kill(os.getpid(), number)

    return act


if _specification := os.environ.get("FOOTNOTE_FAILPOINT"):
    arm(signal_at(_specification))
