"""API keys in the database: only a digest of the secret is kept."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection, insert, select, update

from app.errors import NotFound
from app.store.tables import api_keys

_PREFIX = "fn-"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What may be shown of a key."""

    id: str
    name: str
    created_at: datetime
    revoked_at: datetime | None


def create_key(connection: Connection, name: str, now: float) -> tuple[str, str]:
    """A new key: its id, and the secret, which cannot be read again."""
    key_id = f"key_{uuid.uuid4().hex[:12]}"
    # 32 random bytes: a plain digest is enough, there is nothing to guess.
    secret = _PREFIX + secrets.token_urlsafe(32)
    connection.execute(insert(api_keys).values(id=key_id, name=name, digest=digest(secret), created_at=now))
    return key_id, secret


def list_keys(connection: Connection) -> list[ApiKey]:
    """All keys, oldest first, revoked ones too."""
    return [
        ApiKey(
            id=row.id,
            name=row.name,
            created_at=datetime.fromtimestamp(row.created_at, UTC),
            revoked_at=None if row.revoked_at is None else datetime.fromtimestamp(row.revoked_at, UTC),
        )
        for row in connection.execute(select(api_keys).order_by(api_keys.c.created_at, api_keys.c.id))
    ]


def revoke_key(connection: Connection, key_id: str, now: float) -> None:
    """From now on the key opens nothing. Raises `NotFound`."""
    statement = update(api_keys).where(api_keys.c.id == key_id, api_keys.c.revoked_at.is_(None))
    if not connection.execute(statement.values(revoked_at=now)).rowcount:
        raise NotFound(f"There is no valid key {key_id!r}.")


def active_digests(connection: Connection) -> list[bytes]:
    """What a secret is compared with."""
    return list(connection.scalars(select(api_keys.c.digest).where(api_keys.c.revoked_at.is_(None))))


def digest(secret: str) -> bytes:
    """SHA-256 of the secret's bytes."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()


def matches(secret: str, digests: list[bytes]) -> bool:
    """Whether the secret is among them, in a time that tells nothing about how nearly."""
    presented = digest(secret)
    # A sum, not any(): every comparison takes place.
    return sum(hmac.compare_digest(presented, known) for known in digests) > 0
