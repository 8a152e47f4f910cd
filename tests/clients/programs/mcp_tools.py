"""MCP's own client over HTTP: the tools are listed, and a question is answered."""

import asyncio
import sys

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client


async def main() -> None:
    async with (
        httpx2.AsyncClient(headers={"Authorization": f"Bearer {sys.argv[2]}"}) as http,
        Client(streamable_http_client(f"{sys.argv[1]}/mcp", http_client=http)) as client,
    ):
        assert {tool.name for tool in (await client.list_tools()).tools} == {"search", "ask", "read_document"}
        answer = await client.call_tool("ask", {"question": "When does the dome close?"})
        assert answer.structured_content["citations"], answer


asyncio.run(main())
