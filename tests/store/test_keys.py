"""API keys: shown once, kept as a digest."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from app.errors import NotFound
from app.store.database import Database
from app.store.keys import active_digests, create_key, digest, list_keys, matches, revoke_key
from app.store.tables import api_keys
from tests.store.library import NOW


def test_a_key_opens_until_it_is_revoked(database: Database) -> None:
    """A new key matches; once revoked it does not, and cannot be revoked again."""
    with database.write() as connection:
        key_id, secret = create_key(connection, "laptop", NOW)
        create_key(connection, "phone", NOW + 1)
        assert matches(secret, active_digests(connection))
        assert not matches(secret + "x", active_digests(connection))
        revoke_key(connection, key_id, NOW + 2)
        assert not matches(secret, active_digests(connection))
        with pytest.raises(NotFound):
            revoke_key(connection, key_id, NOW + 3)
    with database.read() as connection:
        assert [(key.name, key.revoked_at is not None) for key in list_keys(connection)] == [
            ("laptop", True),
            ("phone", False),
        ]


def test_the_secret_is_not_stored(database: Database) -> None:
    """The database holds a digest of the secret, nothing that opens anything."""
    with database.write() as connection:
        _, secret = create_key(connection, "laptop", NOW)
    with database.read() as connection:
        row = connection.execute(select(api_keys)).one()
    assert row.digest == digest(secret)
    assert secret not in str(row)


@pytest.mark.parametrize("secret", ["", "schlüssel", "密钥", "\udcff\udc80", "a" * 10_000])
def test_any_bytes_can_be_compared(secret: str) -> None:
    """A key of any characters, or of bytes that are none, is compared without an error."""
    assert matches(secret, [digest("other"), digest(secret)])
    assert not matches(secret, [digest("other")])
    assert not matches(secret, [])
