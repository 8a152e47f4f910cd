"""An engine on loopback, and a client for it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import httpx
import pytest

from app.types import Passage
from tests.answering.samples import BRIDGE, PANTHERS, passage
from tests.fake_engine import FakeEngine


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    with FakeEngine() as engine:
        yield engine


@pytest.fixture
async def client(anyio_backend: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient() as client:
        yield client


@pytest.fixture
def passages() -> list[Passage]:
    return [passage(PANTHERS, number=1, start=100), passage(BRIDGE, number=2, score=0.4, lexical=3.0)]
