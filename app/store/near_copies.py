"""Documents that are nearly the same as another one of their collection: they are told of, nothing more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, tuple_, update

from app.signatures import bands as bands_of
from app.signatures import similarity
from app.store.tables import bands, documents, versions
from app.types import Document

_NEARLY_THE_SAME = 0.8
_MOST_COMPARED = 50  # of a thousand copies of one form it is enough to name one
_WORDS = "Nearly the same as "

_OTHERS = (
    select(bands.c.document_id, versions.c.filename, versions.c.signature)
    .distinct()
    .join(documents, (documents.c.id == bands.c.document_id) & (documents.c.live_version == bands.c.version))
    .join(versions, (versions.c.document_id == bands.c.document_id) & (versions.c.version == bands.c.version))
    .where(
        bands.c.band.in_(bindparam("bands", expanding=True)),
        bands.c.document_id.not_in(bindparam("without", expanding=True)),
    )
    .limit(_MOST_COMPARED)
)


def store_bands(connection: Connection, collection_id: str, signatures: Mapping[tuple[str, int], bytes]) -> None:
    """By document and version: what others are found by."""
    rows = [
        {"band": band, "document_id": document_id, "version": version}
        for (document_id, version), signature in signatures.items()
        for band in bands_of(signature, collection_id)
    ]
    if rows:
        connection.execute(insert(bands), rows)


def warn_of_near_copies(connection: Connection, ready: Sequence[Document]) -> None:
    """Name in the warnings of documents that have just become live the one that each is nearly the same as.

    That is one that was live before, or that comes before it among these.
    """
    found = _signatures(connection, ready) if ready else {}
    ids = [document.id for document in ready]
    for at, document in enumerate(ready):
        if document.id not in found:
            continue
        signature, before = found[document.id]
        others = connection.execute(
            _OTHERS, {"bands": bands_of(signature, document.collection_id), "without": ids[at:]}
        ).all()
        warnings = [each for each in before if not each.startswith(_WORDS)]  # of a version that came back
        if others:
            share, name, other = max(
                (similarity(signature, row.signature), row.filename, row.document_id) for row in others
            )
            if share >= _NEARLY_THE_SAME:
                warnings.append(f"{_WORDS}“{name}” ({other}): about {share:.0%} of their text is in both.")
        if warnings != before:
            of_version = (versions.c.document_id == document.id) & (versions.c.version == document.version)
            connection.execute(update(versions).where(of_version).values(warnings=warnings))


def _signatures(connection: Connection, ready: Sequence[Document]) -> dict[str, tuple[bytes, list[Any]]]:
    """Signature and warnings of the newest version of each document that has a signature."""
    keys = [(document.id, document.version) for document in ready]
    query = select(versions.c.document_id, versions.c.signature, versions.c.warnings).where(
        tuple_(versions.c.document_id, versions.c.version).in_(keys), versions.c.signature.is_not(None)
    )
    return {row.document_id: (row.signature, row.warnings or []) for row in connection.execute(query)}
