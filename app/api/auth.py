"""API keys: none known → whoever reaches the (loopback) port may ask; any known → every route but two needs one."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterable

from fastapi import Request
from pydantic import SecretStr
from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Receive, Scope, Send

from app.answering.admission import CALLER
from app.api.errors import error_response
from app.errors import FootnoteError, Forbidden, Unauthorized
from app.store.database import Database
from app.store.keys import active_digests, digest, matches

OPEN_PATHS = frozenset({"/health", "/ready"})
# How long a key that was made or revoked elsewhere takes to count here.
_REFRESH_SECONDS = 1.0
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class Keys:
    """The digests of all keys that are valid now: those of the settings, and those in the database."""

    def __init__(self, database: Database, configured: Iterable[SecretStr]) -> None:
        self._database = database
        self._configured = [digest(key.get_secret_value()) for key in configured]
        self._stored: list[bytes] = []
        self._read_at = float("-inf")

    async def known(self) -> list[bytes]:
        """Empty where no key is needed."""
        if time.monotonic() - self._read_at > _REFRESH_SECONDS:
            self._stored = await run_in_threadpool(self._read)
            self._read_at = time.monotonic()
        return self._configured + self._stored

    def _read(self) -> list[bytes]:
        with self._database.read() as connection:
            return active_digests(connection)


class RequireKey:
    """Pure ASGI middleware, so that unknown routes are guarded too and disconnects stay visible."""

    def __init__(self, app: ASGIApp, keys: Keys) -> None:
        self._app = app
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in OPEN_PATHS:
            try:
                request = Request(scope)
                await self._require(request)
                CALLER.set(_caller(request))
            except FootnoteError as refusal:
                await error_response(refusal)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    async def _require(self, request: Request) -> None:
        known = await self._keys.known()
        if known and not matches(_presented(request), known):
            raise Unauthorized
        if request.method not in _SAFE_METHODS and request.headers.get("sec-fetch-site") == "cross-site":
            # A page on the internet must not make the browser of someone who runs this upload or delete.
            raise Forbidden


def _caller(request: Request) -> str:
    """Whose share of the language model this is: a key's, or an address's where no key is needed."""
    key = _presented(request)
    return digest(key).hex() if key else f"address {request.client.host if request.client else ''}"


def _presented(request: Request) -> str:
    """The key of a `Bearer` header, or the password of a `Basic` one, which browsers send."""
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    credentials = value.strip().encode("latin-1")  # the bytes as they came: the framework decodes headers so
    if scheme.lower() == "basic":
        try:
            credentials = base64.b64decode(credentials, validate=True).partition(b":")[2]
        except ValueError:
            return ""
    elif scheme.lower() != "bearer":
        return ""
    return credentials.decode("utf-8", "surrogateescape")
