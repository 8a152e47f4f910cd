"""The Model Context Protocol by its own client: over HTTP, and over standard input and output."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import httpx2
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

from app.api.mcp_tools import build_server
from app.cli_mcp import RemoteLibrary
from app.client import Client as FootnoteClient
from tests.api.serving import Service, problem, serving, settings_in
from tests.fake_engine import STALL, FakeEngine, Reply, delta

pytestmark = pytest.mark.anyio

KEY = "the-key"
ROOT = Path(__file__).resolve().parents[2]
TEXT = "The dome closes at 15 m/s. The night watch begins at nine."


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serving(settings_in(tmp_path_factory.mktemp("mcp"), api_keys=KEY, answer_threshold=0)) as service:
        service.http.headers["Authorization"] = f"Bearer {KEY}"
        service.add("dome.txt", TEXT, metadata={"year": 2020})
        yield service


@asynccontextmanager
async def over_http(service: Service, key: str) -> AsyncIterator[Client]:
    async with (
        httpx2.AsyncClient(headers={"Authorization": f"Bearer {key}"}) as http,
        Client(streamable_http_client(f"{service.url}/mcp", http_client=http)) as client,
    ):
        yield client


@asynccontextmanager
async def over_stdio(service: Service, key: str) -> AsyncIterator[Client]:
    command = ["-m", "app", "mcp", "--url", service.url, "--api-key", key]
    async with Client(StdioServerParameters(command=sys.executable, args=command, cwd=ROOT)) as client:
        yield client


def content(result: Any) -> dict[str, Any]:
    assert not result.is_error, result.content
    found: dict[str, Any] = result.structured_content
    return found


@pytest.mark.parametrize("connect", [over_http, over_stdio])
async def test_the_tools(guarded: Service, connect: Any) -> None:
    """Search, ask and read: the same on either way, and told to change nothing."""
    async with connect(guarded, KEY) as client:
        tools = (await client.list_tools()).tools
        assert [tool.name for tool in tools] == ["search", "ask", "read_document"]
        assert all(tool.annotations.read_only_hint for tool in tools)
        found = content(await client.call_tool("search", {"query": "dome", "filters": {"year": {"$gte": 2020}}}))
        (passage,) = found["passages"]
        assert passage["text"] == TEXT
        answer = content(await client.call_tool("ask", {"question": "When does the dome close?"}))
        assert "[1]" in answer["answer"]
        (citation, *_) = answer["citations"]
        place = {"document_id": citation["document_id"], "version": citation["version"]}
        length = citation["end"] - citation["start"]
        read = content(await client.call_tool("read_document", {**place, "start": citation["start"], "length": length}))
        assert (read["text"], read["characters"]) == (citation["quote"], len(TEXT))


@pytest.mark.parametrize("connect", [over_http, over_stdio])
async def test_what_goes_wrong_is_for_the_model_to_read(guarded: Service, connect: Any) -> None:
    """An unknown collection, a filter that cannot be, a document that is not there: each in plain words."""
    async with connect(guarded, KEY) as client:
        for tool, arguments, said in (
            ("search", {"query": "dome", "collection": "nowhere"}, "no collection named 'nowhere'"),
            ("ask", {"question": "dome", "filters": {"year": {"$like": 1}}}, "Unknown operator '$like'"),
            ("read_document", {"document_id": "doc_none"}, "no document 'doc_none'"),
        ):
            result = await client.call_tool(tool, arguments)
            assert result.is_error
            assert said in result.content[0].text


async def test_a_key_is_needed(guarded: Service) -> None:
    """As everywhere: without one there is an answer in the one shape of errors, and no tool."""
    async with httpx2.AsyncClient() as http:
        response = await http.post(f"{guarded.url}/mcp", json={})
    assert response.status_code == 401
    assert response.json()["error"]["code"] == "invalid_api_key"


def test_without_keys_only_this_machine_asks(service: Service) -> None:
    """A page that was made to lead here by its name, or that is another site's, is refused."""
    for headers in ({"Host": "rebound.example"}, {"Origin": "https://elsewhere.example"}):
        refused = service.http.post("/mcp", json={}, headers=headers)
        assert problem(refused, 403)["code"] == "forbidden"


async def test_a_client_that_leaves_frees_the_engine(tmp_path: Path) -> None:
    """A question whose client has gone is given up: the language model's server is told at once."""
    engine = FakeEngine(default=lambda body: Reply([delta("The dome "), STALL]))
    with engine, serving(settings_in(tmp_path, llm_base_url=engine.base_url)) as service:
        service.add("dome.txt", TEXT)
        async with over_http(service, "none is needed") as client, anyio.create_task_group() as tasks:
            tasks.start_soon(client.call_tool, "ask", {"question": "When does the dome close?"})
            await anyio.to_thread.run_sync(engine.wait_for, lambda: bool(engine.requests))
            tasks.cancel_scope.cancel()
        await anyio.to_thread.run_sync(engine.wait_for, lambda: engine.left == 1)


def test_only_problems_are_logged() -> None:
    """Programs show what their servers write to standard error: a request that went well is not among it."""
    with FootnoteClient("http://127.0.0.1:1") as client:
        assert build_server(RemoteLibrary(client)).settings.log_level == "WARNING"
