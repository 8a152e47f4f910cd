"""Each client, as anyone would install it, against a running service: its program ends without an error."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.clients.conftest import KEY
from tests.vllm.servers import ServerProcess

PROGRAMS = Path(__file__).with_name("programs")
_SECONDS = 100


def run(command: list[str], *, cwd: Path, program: str = "") -> None:
    # A proxy of the environment cannot reach this machine's own loopback.
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "NO_PROXY": "*", "HOME": str(cwd)}
    finished = subprocess.run(
        command,
        cwd=cwd,
        env=environment,
        input=program,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=_SECONDS,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout


@pytest.mark.parametrize(
    ("installation", "program"),
    [
        ("official", "openai_file_search.py"),
        ("official", "mcp_tools.py"),
        ("langchain", "langchain_chat.py"),
        ("llamaindex", "llama_index_chat.py"),
    ],
)
def test_python(footnote: ServerProcess, clients: Path, tmp_path: Path, installation: str, program: str) -> None:
    """The official Python client, MCP's, LangChain's, and LlamaIndex's OpenAI-like one."""
    run([str(clients / installation / "bin/python"), str(PROGRAMS / program), footnote.url, KEY], cwd=tmp_path)


def test_javascript(footnote: ServerProcess, clients: Path) -> None:
    """The official JavaScript client. (From standard input: a module's imports are looked for where it runs.)"""
    program = (PROGRAMS / "openai_file_search.mjs").read_text()
    run(["node", "--input-type=module", "-", footnote.url, KEY], cwd=clients / "node", program=program)
