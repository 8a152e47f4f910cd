"""docker-compose.yaml and .env.example keep what they promise to an operator."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from app.config import Settings

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yaml").read_text(encoding="utf-8"))
SERVICES: Mapping[str, Mapping[str, Any]] = COMPOSE["services"]
EXAMPLE = (ROOT / ".env.example").read_text(encoding="utf-8")
# What .env.example says: `NAME=value`, or `# NAME=value` for a default.
EXPLAINED = dict(re.findall(r"^(?:# )?([A-Z][A-Z_]+)=(.*)$", EXAMPLE, re.MULTILINE))
# Set by the image or by docker-compose.yaml itself.
FIXED_IN_CONTAINERS = {"FOOTNOTE_DATA_DIR", "FOOTNOTE_HOST", "FOOTNOTE_PORT"}


def defaults(model: type[BaseModel] = Settings, prefix: str = "FOOTNOTE_") -> dict[str, Any]:
    """Every setting that can be given, by the name of its variable, with its default."""
    found: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        if isinstance(field.default, BaseModel):
            found |= defaults(type(field.default), f"{prefix}{name.upper()}__")
        else:
            found[prefix + name.upper()] = field.default
    return found


def engine_arguments(tmp_path: Path, **settings: str) -> list[str]:
    """What `vllm serve` is given, by running the service's own command with a `vllm` that prints its arguments."""
    program = tmp_path / "vllm"
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    service = SERVICES["vllm"]
    command = [*service["entrypoint"], *(part.replace("$$", "$") for part in service["command"])]
    environment = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", **settings}
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, cwd=ROOT)
    return finished.stdout.splitlines()


def test_nothing_starts_without_a_key() -> None:
    """The API key has no default: compose refuses to start without one of the operator's own."""
    assert SERVICES["api"]["environment"]["FOOTNOTE_API_KEYS"].startswith("${FOOTNOTE_API_KEYS:?")
    assert EXPLAINED["FOOTNOTE_API_KEYS"] == ""


def test_only_the_api_is_published() -> None:
    """vLLM answers inside the compose network alone, and the API on the host's loopback unless told otherwise."""
    assert [name for name, service in SERVICES.items() if service.get("ports")] == ["api"]
    assert SERVICES["api"]["ports"] == ["${FOOTNOTE_PUBLISH:-127.0.0.1:8000}:8000"]
    assert not any("network_mode" in service for service in SERVICES.values())
    assert COMPOSE["networks"]["engine"] == {"internal": True}


def test_the_api_waits_for_nothing() -> None:
    """Questions are answered extractively while vLLM loads: no service depends on another."""
    assert not any("depends_on" in service for service in SERVICES.values())


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_confined(name: str) -> None:
    """No service runs as root, keeps a capability or gains one; each has a healthcheck and comes back by itself."""
    service = SERVICES[name]
    assert service["user"].split(":")[0] not in {"", "0", "root"}
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not service.get("privileged")
    assert service["healthcheck"]["test"]
    assert service["restart"] == "unless-stopped"
    assert service["stop_grace_period"]
    assert service["volumes"]


@pytest.mark.parametrize("name", ["api", "worker"])
def test_footnotes_own_containers_are_read_only(name: str) -> None:
    """Server and worker write to their volumes and to /tmp only."""
    assert SERVICES[name]["read_only"] is True
    assert SERVICES[name]["tmpfs"] == ["/tmp"]


def test_settings_that_are_empty_leave_no_argument(tmp_path: Path) -> None:
    """vLLM is given the model alone when nothing else is set."""
    blank = dict.fromkeys(SERVICES["vllm"]["environment"], "")
    assert engine_arguments(tmp_path, **(blank | {"ENGINE_MODEL": "some/model"})) == ["serve", "some/model"]


def test_every_engine_setting_becomes_its_argument(tmp_path: Path) -> None:
    """Quantisation, context, GPU share, LoRA, speculation, tools and extra arguments reach vLLM whole."""
    speculation = '{"method": "ngram", "num_speculative_tokens": 4}'
    arguments = engine_arguments(
        tmp_path,
        ENGINE_MODEL="/models/my model",
        ENGINE_QUANTIZATION="fp8",
        ENGINE_CONTEXT_TOKENS="8192",
        ENGINE_GPU_SHARE="0.5",
        ENGINE_GPUS="2",
        ENGINE_SPECULATION=speculation,
        ENGINE_LORA_MODULES="a=/adapters/a b=/adapters/b",
        ENGINE_TOOL_PARSER="hermes",
        ENGINE_EXTRA_ARGS="--kv-cache-dtype fp8 --pattern *",
    )
    assert arguments == [
        *("serve", "/models/my model", "--quantization", "fp8", "--max-model-len", "8192"),
        *("--gpu-memory-utilization", "0.5", "--tensor-parallel-size", "2", "--speculative-config", speculation),
        *("--enable-lora", "--lora-modules", "a=/adapters/a", "b=/adapters/b"),
        *("--enable-auto-tool-choice", "--tool-call-parser", "hermes"),
        *("--kv-cache-dtype", "fp8", "--pattern", "*"),
    ]


def test_the_example_explains_every_setting() -> None:
    """.env.example names each setting of Footnote, with its true default."""
    settings = defaults()
    assert settings.keys() <= EXPLAINED.keys()
    for name, default in settings.items():
        if name != "FOOTNOTE_LLM_BASE_URL":  # its example is compose's
            shown = "" if default in {None, ()} else f"{default:g}" if isinstance(default, float) else str(default)
            assert EXPLAINED[name] == shown, name


def test_every_variable_of_compose_is_explained() -> None:
    """What docker-compose.yaml reads from .env, .env.example explains, and no container misses a setting."""
    text = (ROOT / "docker-compose.yaml").read_text(encoding="utf-8")
    read = set(re.findall(r"(?<!\$)\$\{([A-Z_]+)", text)) - {"TORCH_INDEX_URL"}
    passed = {name for service in SERVICES.values() for name in service["environment"] if name.startswith("FOOTNOTE_")}
    assert read <= EXPLAINED.keys()
    assert passed | FIXED_IN_CONTAINERS >= defaults().keys()
    assert passed <= EXPLAINED.keys()
