"""Server processes for the tests: started, watched, killed, and started again on the same port."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import psutil
import yaml
from prometheus_client.parser import text_string_to_metric_families

ROOT = Path(__file__).resolve().parents[2]
HOST = "127.0.0.1"
ADAPTER = "dialect"  # what the second engine calls the LoRA adapter
_START_SECONDS = 300
_STOP_SECONDS = 20


class ServerProcess:
    """One server and whatever it starts, in a process group of their own."""

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], folder: Path, *, ready_path: str
    ) -> None:
        """It works in `folder`, and writes its log there."""
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            port = probe.getsockname()[1]
        self.url = f"http://{HOST}:{port}"
        self._command = [*command, "--host", HOST, "--port", str(port)]
        # Only what the tests say: not the settings of whoever runs them.
        settings = ("FOOTNOTE_", "ENGINE_", "VLLM_")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(settings)}
        self._environment = inherited | {"HF_HUB_OFFLINE": "1", **environment}
        self._folder = folder
        self._ready_url = f"{self.url}{ready_path}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns when it is ready."""
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command, cwd=self._folder, env=self._environment, stdout=log, stderr=log, process_group=0
            )
        process = self._process
        wait_for(lambda: self.is_ready() or process.poll() is not None, _START_SECONDS)
        assert process.poll() is None, (self._folder / "server.log").read_text(errors="replace")[-4000:]

    def is_ready(self) -> bool:
        with suppress(httpx.TransportError):
            return httpx.get(self._ready_url, trust_env=False).is_success
        return False

    def stop(self) -> None:
        """Ask it to end, and then see to it that nothing of it is left."""
        if self._process is not None:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_STOP_SECONDS)
            self.kill()

    def kill(self) -> None:
        """SIGKILL for the server and all its children at once, as when the machine is lost."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None


class Vllm(ServerProcess):
    """A vLLM that serves a tiny model on the CPU, one request at a time, started as docker-compose.yaml does it."""

    model = "tiny"
    context_tokens = 4096

    def __init__(self, python: str, model: Path, folder: Path, extra_arguments: str = "", **settings: str) -> None:
        """`settings` are those of `.env` for the service `vllm`."""
        service = yaml.safe_load((ROOT / "docker-compose.yaml").read_text(encoding="utf-8"))["services"]["vllm"]
        (script,) = (part.replace("$$", "$") for part in service["command"])
        # The build for the CPU has no `vllm`; it reads the same arguments with the same parser.
        program = folder / "vllm"
        program.write_text(
            f'#!/bin/sh\nshift\nexec {python} -m vllm.entrypoints.openai.api_server --model "$@"\n', encoding="utf-8"
        )
        program.chmod(0o755)
        # A prompt in one piece: on a CPU, this vLLM crashes where a seeded request is computed in several.
        extra = f"--served-model-name {self.model} --max-num-batched-tokens {self.context_tokens} --max-num-seqs 1"
        environment = dict.fromkeys(service["environment"], "") | {
            "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
            "ENGINE_MODEL": str(model),
            "ENGINE_CONTEXT_TOKENS": str(self.context_tokens),
            "ENGINE_EXTRA_ARGS": f"{extra} --dtype float32 --enforce-eager {extra_arguments}",
            "VLLM_CPU_KVCACHE_SPACE": "1",
            "VLLM_NO_USAGE_STATS": "1",
            **settings,
        }
        command = [*service["entrypoint"], script.rstrip() + ' "$@"', "vllm"]
        super().__init__(command, environment, folder, ready_path="/health")

    def start(self) -> None:
        """Returns when it has answered once: the first answer may take long, and is nobody's fault."""
        super().start()
        body = {"model": self.model, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 4}
        httpx.post(f"{self.url}/v1/chat/completions", json=body, timeout=120, trust_env=False).raise_for_status()

    def kill_core(self) -> None:
        """SIGKILL for the process that computes, as when it runs out of memory; the one that serves stays."""
        assert self._process is not None
        family = psutil.Process(self._process.pid).children(recursive=True)
        (core,) = (each for each in family if "EngineCore" in " ".join(each.cmdline()))
        core.kill()

    def count(self, metric: str) -> float:
        """A metric of `/metrics`, summed over its labels."""
        return self._counts()[metric]

    def wait_for_load(self, *, running: int, waiting: int, seconds: float = 10) -> None:
        """Until that many requests have a slot, and that many wait for one."""
        wanted = (running, waiting)
        wait_for(lambda: self._load() == wanted, seconds, lambda: f"{self._load()} is not {wanted}")

    @contextmanager
    def occupied(self) -> Iterator[None]:
        """Its only slot is taken."""
        body = {"model": self.model, "messages": [{"role": "user", "content": "Hello"}], "stream": True}
        with httpx.stream("POST", f"{self.url}/v1/chat/completions", json=body | {"ignore_eos": True}, trust_env=False):
            self.wait_for_load(running=1, waiting=0)
            yield
        self.wait_for_load(running=0, waiting=0)

    def _load(self) -> tuple[float, float]:
        counts = self._counts()
        return counts["vllm:num_requests_running"], counts["vllm:num_requests_waiting"]

    def _counts(self) -> dict[str, float]:
        counts: dict[str, float] = {}
        for family in text_string_to_metric_families(httpx.get(f"{self.url}/metrics", trust_env=False).text):
            for sample in family.samples:
                counts[sample.name] = counts.get(sample.name, 0) + sample.value
        return counts


def wait_for(
    condition: Callable[[], bool], seconds: float, describe: Callable[[], str] = lambda: "waited in vain"
) -> None:
    """Until the condition holds; `AssertionError` when it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, describe()
        time.sleep(0.02)
