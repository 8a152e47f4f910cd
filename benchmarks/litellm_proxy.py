"""A LiteLLM proxy before an engine: what people put there today, as it comes, with one process and nothing to log."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from benchmarks.environments import python_with
from benchmarks.server import BenchmarkError, free_port

_READY_SECONDS = 120
_CONFIG = """\
model_list:
  - model_name: paced
    litellm_params: {{model: openai/paced, api_base: "{base_url}", api_key: none}}
litellm_settings: {{telemetry: false}}
"""
# Without these it looks for a list of prices on the internet, writes a line a request, and asks for a key.
_ENVIRONMENT = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_LOG": "ERROR",
    "LITELLM_MODE": "PRODUCTION",
    "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",  # on loopback, for minutes
}


@dataclass(frozen=True, slots=True)
class Proxy:
    """One that runs."""

    port: int
    pid: int


@contextmanager
def running_proxy(base_url: str) -> Iterator[Proxy]:
    """A proxy that answers for the model `paced`. Raises `BenchmarkError` where it does not start."""
    command = Path(python_with("litellm")).with_name("litellm")
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="footnote-litellm-") as name:
        folder = Path(name)
        (folder / "config.yaml").write_text(_CONFIG.format(base_url=base_url))
        arguments = [command, "--config", "config.yaml", "--host", "127.0.0.1", "--port", str(port)]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                arguments, cwd=folder, env=os.environ | _ENVIRONMENT, stdout=log, stderr=subprocess.STDOUT
            )
        try:
            _wait_until_ready(process, port, folder / "log")
            yield Proxy(port, process.pid)
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_until_ready(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"http://127.0.0.1:{port}/health/readiness", trust_env=False).is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.25)
    raise BenchmarkError(f"The LiteLLM proxy did not start: {log.read_text(errors='replace')[-500:]}")
