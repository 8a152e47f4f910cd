"""What has to be done so that a collection mirrors a folder: compared by SHA-256, nothing remembered in between."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from app.client import Outgoing
from app.client_records import DocumentRecord
from app.errors import FootnoteError
from app.folder import Contents, Folder, Skipped
from app.types import DocumentStatus

_LONGEST_EXTERNAL_ID = 255  # as the API has it
_LONGEST_NAME = 100


class SyncRefused(FootnoteError):
    """The collection cannot mirror the folder like that."""

    code = "sync_refused"


class Mirror:
    """The documents of a collection that belong to a synced folder: those whose `external_id` is `sync:NAME/path`."""

    def __init__(self, name: str) -> None:
        if not name or "/" in name or not name.isprintable() or len(name) > _LONGEST_NAME:
            raise SyncRefused(
                f"{name!r} cannot name a synced folder: give one with --name, of at most {_LONGEST_NAME} printable "
                f"characters, without “/”."
            )
        self._prefix = f"sync:{name}/"

    def external_id(self, path: str) -> str:
        """Of the file with this path in the folder; a digest ends one that would be too long."""
        whole = self._prefix + path
        if len(whole) <= _LONGEST_EXTERNAL_ID:
            return whole
        ending = f"…{hashlib.sha256(whole.encode()).hexdigest()[:32]}"
        return whole[: _LONGEST_EXTERNAL_ID - len(ending)] + ending

    def path(self, external_id: str) -> str:
        """As far as it can be told, for people."""
        return external_id.removeprefix(self._prefix)

    def holds(self, external_id: str | None) -> bool:
        return external_id is not None and external_id.startswith(self._prefix)


@dataclass(frozen=True, slots=True)
class Synced:
    """A document of the mirror, as the server has it."""

    id: str
    external_id: str
    sha256: str
    status: str
    reason: str | None  # why it failed

    @classmethod
    def of(cls, record: DocumentRecord) -> Synced:
        error = record.get("error")
        return cls(
            id=record["id"],
            external_id=record["external_id"] or "",
            sha256=record["sha256"],
            status=record["status"],
            reason=error["message"] if error else None,
        )


@dataclass(slots=True)
class Plan:
    """What to do, in this order; then to follow `unfinished`, which are uploaded already; then to remove."""

    replaced: list[Outgoing] = field(default_factory=list)
    retried: list[Outgoing] = field(default_factory=list)
    added: list[Outgoing] = field(default_factory=list)  # of a moved file, it removes the old document first
    removed: list[Synced] = field(default_factory=list)
    unfinished: list[Synced] = field(default_factory=list)
    unchanged: int = 0  # with those that are unfinished
    failed: dict[str, str] = field(default_factory=dict)  # reasons by path, of documents that are not tried again
    unreadable: dict[str, str] = field(default_factory=dict)  # reasons by path, of folders and files
    skipped: dict[str, Skipped] = field(default_factory=dict)

    @property
    def moved(self) -> int:
        """How many documents are removed because their file is somewhere else now."""
        return sum(len(outgoing.instead_of) for outgoing in self.added)

    @property
    def is_empty(self) -> bool:
        return not (self.replaced or self.added or self.retried or self.removed or self.unfinished)


def make_plan(
    mirror: Mirror,
    folder: Folder,
    contents: Contents,
    documents: Iterable[DocumentRecord],
    *,
    waiting: Collection[str] = (),
    retry_failed: bool = False,
    remove_all: bool = False,
) -> Plan:
    """Compare the folder with all documents of the collection.

    `waiting`: files that are left as they are for now. Raises `SyncRefused` rather than remove documents where no file
    is at the path of any, unless `remove_all`.
    """
    plan = Plan(skipped=dict(contents.skipped), unreadable=dict(contents.problems))
    digests, deleted = _read_files(folder, contents, waiting, plan)
    synced: dict[str, Synced] = {}
    kept_digests: set[str] = set()
    for record in documents:
        if mirror.holds(record["external_id"]):
            document = Synced.of(record)
            synced[document.external_id] = document
        else:
            kept_digests.add(record["sha256"])

    synced_before = len(synced)
    new: dict[str, str] = {}
    for path, sha256 in digests.items():
        before = synced.pop(mirror.external_id(path), None)
        if before is None:
            new[path] = sha256
            continue
        kept_digests.add(sha256)
        if before.sha256 == sha256:
            _keep(plan, before, mirror.path(before.external_id), folder, retry_failed)
        else:
            plan.replaced.append(Outgoing(folder.root / path, path, before.external_id))
    # What could not be looked at may still be there; what went while it was read may have gone with the whole folder,
    # and the next look tells.
    unsure = (*waiting, *plan.unreadable, *deleted)
    staying = set(synced) if contents.problems else synced.keys() & {mirror.external_id(path) for path in unsure}
    kept_digests |= {synced[each].sha256 for each in staying}
    gone = {external_id: document for external_id, document in synced.items() if external_id not in staying}
    _add(plan, mirror, folder, new, gone, kept_digests)
    if plan.removed and len(plan.removed) + plan.moved == synced_before and not remove_all:
        raise SyncRefused(
            f"None of the {len(plan.removed)} files that were synced before is in {folder.root}: all their documents "
            f"would be removed. If that is meant, add --yes."
        )
    return plan


def _read_files(
    folder: Folder, contents: Contents, waiting: Collection[str], plan: Plan
) -> tuple[Mapping[str, str], list[str]]:
    """The SHA-256 of each file, in the order of their paths; and the files that were deleted since they were seen."""
    digests: dict[str, str] = {}
    deleted = []
    for path, state in sorted(contents.files.items()):
        if path in waiting:
            continue
        try:
            found = folder.read(path, state)
        except FileNotFoundError:
            deleted.append(path)
            continue
        except OSError as error:
            plan.unreadable[path] = error.strerror or str(error)
            continue
        if isinstance(found, Skipped):
            plan.skipped[path] = found
        else:
            digests[path] = found
    return digests, deleted


def _keep(plan: Plan, document: Synced, path: str, folder: Folder, retry_failed: bool) -> None:
    if document.status == DocumentStatus.FAILED:
        if retry_failed:
            plan.retried.append(Outgoing(folder.root / path, path, document.external_id))
        else:
            plan.failed[path] = document.reason or "It could not be read."
        return
    plan.unchanged += 1
    if document.status != DocumentStatus.READY:
        plan.unfinished.append(document)


def _add(
    plan: Plan,
    mirror: Mirror,
    folder: Folder,
    new: Mapping[str, str],
    gone: Mapping[str, Synced],
    kept_digests: set[str],
) -> None:
    """A collection has the same bytes once: an upload of what it has, under whatever name, would add nothing.

    So copies are skipped, and of a moved file the old document goes before the new one comes.
    """
    old = defaultdict(list)
    for document in gone.values():
        old[document.sha256].append(document.id)
    for path, sha256 in new.items():
        if sha256 in kept_digests:
            plan.skipped[path] = Skipped.SAME_BYTES
            continue
        kept_digests.add(sha256)
        instead_of = tuple(old.pop(sha256, ()))
        plan.added.append(Outgoing(folder.root / path, path, mirror.external_id(path), instead_of))
    still_there = {document_id for ids in old.values() for document_id in ids}
    plan.removed = [document for document in gone.values() if document.id in still_there]
