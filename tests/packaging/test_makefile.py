"""The commands of the Makefile: listed, and clear about what they need."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["make", *arguments], cwd=folder, capture_output=True, text=True, check=False)


def test_make_lists_every_target() -> None:
    """`make` alone lists every command with what it does."""
    targets = set(
        re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)[0].split()
    )
    listed = dict(re.findall(r"^  make (\S+) +(\S.*)$", make(ROOT).stdout, re.MULTILINE))
    assert listed.keys() == targets
    assert {"setup", "demo", "serve", "test", "check", "test-vllm", "bench", "help"} <= targets


def test_a_wrong_python_is_named(tmp_path: Path) -> None:
    """With a Python that is too old, `make setup` names it and says what would do."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "pyproject.toml").touch()
    old = tmp_path / "python3"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo "Python 3.9.2"\nexit 1\n', encoding="utf-8")
    old.chmod(0o755)
    finished = make(tmp_path, "setup", f"PYTHON={old}")
    assert finished.returncode != 0
    assert f"Footnote needs Python 3.11 to 3.13, but {old} is Python 3.9.2." in finished.stdout
