"""A running service with an engine behind it, for clients in environments of their own.

`make test-clients` makes those and names their folder; without it nothing here is collected.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.client import Client
from tests.fake_engine import FakeEngine, answer
from tests.vllm.servers import ROOT, ServerProcess

CLIENTS = os.environ.get("FOOTNOTE_TEST_CLIENTS")
KEY = "the-key"

collect_ignore_glob = [] if CLIENTS else ["test_*.py"]


@pytest.fixture(scope="session")
def clients() -> Path:
    """The folder of their installations."""
    assert CLIENTS
    return Path(CLIENTS)


@pytest.fixture(scope="session")
def engine() -> Iterator[FakeEngine]:
    with FakeEngine(default=lambda body: answer("The dome closes at 15 m/s. [1]")) as engine:
        yield engine


@pytest.fixture(scope="session")
def footnote(engine: FakeEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Server and worker in processes of their own, behind a key; the default collection holds one document."""
    folder = tmp_path_factory.mktemp("footnote")
    settings = {
        "PYTHONPATH": str(ROOT),  # whatever else is installed, it is this source that serves
        "FOOTNOTE_DATA_DIR": str(folder / "data"),
        "FOOTNOTE_API_KEYS": KEY,
        "FOOTNOTE_EMBEDDING_MODEL": "hashing",
        "FOOTNOTE_LLM_BASE_URL": engine.base_url,
    }
    document = folder / "dome.txt"
    document.write_text("The dome closes at 15 m/s. The night watch begins at nine.")
    server = ServerProcess([sys.executable, "-m", "app", "serve"], settings, folder, ready_path="/ready")
    try:
        server.start()
        with Client(server.url, KEY) as client:
            uploaded = client.upload(document, collection="default")
            *_, finished = client.follow([uploaded["id"]])
        assert finished["status"] == "ready"
        yield server
    finally:
        server.stop()
