"""MCP over HTTP, at `/mcp`: behind the same keys as everything else."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from mcp.server.mcpserver import MCPServer
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecurityMiddleware, TransportSecuritySettings
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from app.answering.answerer import AskRequest
from app.api.auth import Keys
from app.api.dependencies import Services
from app.api.errors import error_response
from app.api.mcp_tools import build_server
from app.api.schemas.answers import AnswerOut
from app.api.schemas.search import PassageOut
from app.errors import Forbidden
from app.store.collections import get_collection
from app.store.documents import get_document, live_text, version_text
from app.types import Collection

_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


class OwnLibrary:
    """The documents of this server."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def search(
        self, query: str, collection: str, top_k: int | None, filters: dict[str, Any] | None
    ) -> list[dict[str, Any]]:
        found = await self._services.retriever.retrieve(query, collection=collection, top_k=top_k, filters=filters)
        return [PassageOut.of(passage).model_dump(mode="json") for passage in found.passages]

    async def ask(
        self, question: str, collection: str, top_k: int | None, filters: dict[str, Any] | None
    ) -> dict[str, Any]:
        request = AskRequest(question=question, top_k=top_k, filters=filters)
        found = await run_in_threadpool(self._collection, collection)
        answer = await self._services.answerer.answer(request, collection=found)
        return AnswerOut.of(answer).model_dump(mode="json")

    async def read_text(self, document_id: str, version: int | None) -> dict[str, Any]:
        return await run_in_threadpool(self._read_text, document_id, version)

    def _collection(self, name: str) -> Collection:
        with self._services.core.database.read() as connection:
            return get_collection(connection, name)

    def _read_text(self, document_id: str, version: int | None) -> dict[str, Any]:
        with self._services.core.database.read() as connection:
            if version is None:
                version, text = live_text(connection, document_id)
            else:
                get_document(connection, document_id)
                text = version_text(connection, document_id, version)
        return {"document_id": document_id, "version": version, "text": text}


class Endpoint:
    """An ASGI application, which serves while `running`."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._guard = TransportSecurityMiddleware(
            TransportSecuritySettings(
                allowed_hosts=[part for host in _LOOPBACK for part in (host, f"{host}:*")],
                allowed_origins=[part for host in _LOOPBACK for part in (f"http://{host}", f"http://{host}:*")],
            )
        )
        self._sessions: StreamableHTTPSessionManager | None = None

    @asynccontextmanager
    async def running(self, services: Services) -> AsyncIterator[None]:
        server: MCPServer[Any] = build_server(OwnLibrary(services))
        # Without sessions: each request may go to another process. A request's answer is a stream, so that a long one
        # is not taken for a dead one.
        server.streamable_http_app(stateless_http=True, transport_security=_UNGUARDED)
        self._sessions = server.session_manager
        async with self._sessions.run():
            yield

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Where no key is needed, a page whose name was made to lead here could ask in the name of whoever reads it.
        if not await self._keys.known() and await self._guard.validate_request(Request(scope)) is not None:
            refusal = Forbidden("Without an API key, /mcp answers only to programs on this machine.")
            await error_response(refusal)(scope, receive, send)
            return
        assert self._sessions is not None  # noqa: S101 - the application serves nothing before its lifespan has begun
        await self._sessions.handle_request(scope, receive, send)


_UNGUARDED = TransportSecuritySettings(enable_dns_rebinding_protection=False)  # `Endpoint` asks itself


def install(app: FastAPI, keys: Keys) -> Endpoint:
    """Serve `/mcp`."""
    logging.getLogger("mcp").setLevel(logging.WARNING)  # it would tell of every single request
    endpoint = Endpoint(keys)
    app.router.routes.append(Route("/mcp", endpoint=endpoint, include_in_schema=False))
    return endpoint
