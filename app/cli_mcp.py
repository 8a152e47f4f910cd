"""`footnote mcp`: the tools over standard input and output, for programs that start their servers themselves."""

from __future__ import annotations

from typing import Any

import anyio.to_thread

from app.api.mcp_tools import build_server
from app.client import Client


class RemoteLibrary:
    """The documents of a server that runs elsewhere: this process loads no model, and holds no database."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def search(
        self, query: str, collection: str, top_k: int | None, filters: dict[str, Any] | None
    ) -> list[dict[str, Any]]:
        found = await anyio.to_thread.run_sync(
            lambda: self._client.search(query, collection=collection, top_k=top_k, filters=filters)
        )
        return [dict(passage) for passage in found]

    async def ask(
        self, question: str, collection: str, top_k: int | None, filters: dict[str, Any] | None
    ) -> dict[str, Any]:
        return dict(
            await anyio.to_thread.run_sync(
                lambda: self._client.answer(question, collection=collection, top_k=top_k, filters=filters)
            )
        )

    async def read_text(self, document_id: str, version: int | None) -> dict[str, Any]:
        text = await anyio.to_thread.run_sync(lambda: self._client.document_text(document_id, version=version))
        return {"document_id": document_id, "version": version, "text": text}


def serve_stdio(client: Client) -> None:
    """Until standard input ends."""
    build_server(RemoteLibrary(client)).run("stdio")
