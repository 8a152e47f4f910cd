"""A real vLLM and a real Footnote in front of it, each in processes of its own on loopback.

`make test-vllm` names the Python that vLLM is installed for; without it nothing here is collected.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import openai
import pytest

from app.client import Client
from tests.vllm.servers import ADAPTER, ROOT, ServerProcess, Vllm

ENGINE_PYTHON = os.environ.get("FOOTNOTE_TEST_VLLM_PYTHON")
SAMPLES = [path for path in sorted((ROOT / "samples").iterdir()) if path.suffix in {".docx", ".html", ".md", ".pdf"}]

collect_ignore_glob = [] if ENGINE_PYTHON else ["test_*.py"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The engine takes 30 seconds to start, and minutes on a busy machine."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(600))


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a `model` and an `adapter` for it."""
    assert ENGINE_PYTHON
    folder = tmp_path_factory.mktemp("models")
    script = Path(__file__).with_name("tiny_model.py")
    subprocess.run([ENGINE_PYTHON, script, folder], cwd=folder, check=True)
    return folder


@pytest.fixture(scope="session")
def vllm(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vllm]:
    """As it comes, with what the strategy `agent` needs."""
    assert ENGINE_PYTHON
    server = Vllm(ENGINE_PYTHON, models / "model", tmp_path_factory.mktemp("vllm"), ENGINE_TOOL_PARSER="hermes")
    yield server
    server.stop()


@pytest.fixture(scope="session")
def tuned_vllm(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vllm]:
    """The other settings of `.env.example`: an adapter, prompt lookup as it is written there; and no tools."""
    assert ENGINE_PYTHON
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    found = re.search(r"^ENGINE_SPECULATION=(.+)$", example, re.MULTILINE)
    assert found
    server = Vllm(
        ENGINE_PYTHON,
        models / "model",
        tmp_path_factory.mktemp("tuned-vllm"),
        ENGINE_SPECULATION=found.group(1),
        ENGINE_LORA_MODULES=f"{ADAPTER}={models / 'adapter'}",
        ENGINE_GPU_SHARE="0.5",
        ENGINE_GPUS="1",
    )
    server.start()
    yield server
    server.stop()


@pytest.fixture
def engine(vllm: Vllm) -> Vllm:
    """The engine, idle; started again when a test has killed it."""
    if not vllm.is_ready():
        vllm.stop()
        vllm.start()
    vllm.wait_for_load(running=0, waiting=0)
    return vllm


@pytest.fixture(scope="session")
def footnote(vllm: Vllm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """The embedded default with the engine behind it; it has read the samples."""
    with serving_samples(vllm, tmp_path_factory.mktemp("footnote")) as server:
        yield server


@pytest.fixture(scope="session")
def tuned_footnote(tuned_vllm: Vllm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """The same before the other engine."""
    with serving_samples(tuned_vllm, tmp_path_factory.mktemp("tuned-footnote")) as server:
        yield server


@contextmanager
def serving_samples(engine: Vllm, folder: Path) -> Iterator[ServerProcess]:
    settings = {
        "PYTHONPATH": str(ROOT),  # whatever else is installed, it is this source that serves
        "FOOTNOTE_DATA_DIR": str(folder / "data"),
        "FOOTNOTE_LLM_BASE_URL": f"{engine.url}/v1",
    }
    server = ServerProcess([sys.executable, "-m", "app", "serve"], settings, folder, ready_path="/ready")
    try:
        server.start()
        with Client(server.url) as client:
            uploaded = [client.upload(path, collection="default")["id"] for path in SAMPLES]
            status = {document["id"]: document["status"] for document in client.follow(uploaded)}
        assert set(status.values()) == {"ready"}
        yield server
    finally:
        server.stop()


@pytest.fixture
def http(footnote: ServerProcess) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=footnote.url, timeout=120, trust_env=False) as client:
        yield client


@pytest.fixture
def tuned_http(tuned_footnote: ServerProcess) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=tuned_footnote.url, timeout=120, trust_env=False) as client:
        yield client


@pytest.fixture
def openai_client(footnote: ServerProcess) -> Iterator[openai.OpenAI]:
    http_client = openai.DefaultHttpxClient(trust_env=False)
    with openai.OpenAI(
        base_url=f"{footnote.url}/v1", api_key="none is needed", timeout=120, max_retries=0, http_client=http_client
    ) as client:
        yield client
