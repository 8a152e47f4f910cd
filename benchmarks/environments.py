"""Python environments for what Footnote is measured against: its dependencies are not ours."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent


def python_with(name: str) -> str:
    """The interpreter of the environment `.venv-NAME`; made from `NAME-requirements.txt` where it is not there.

    `FOOTNOTE_NAME_VENV` names another folder.
    """
    folder = Path(os.environ.get(f"FOOTNOTE_{name.upper()}_VENV", _ROOT / f".venv-{name}"))
    python, stamp = folder / "bin" / "python", folder / ".installed"
    if not stamp.exists():
        if not python.exists():
            subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        requirements = Path(__file__).parent / f"{name}-requirements.txt"
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        lines = [line.partition("#")[0].strip() for line in requirements.read_text().splitlines()]
        if subprocess.run([*pip, "-r", str(requirements)], stdout=sys.stderr).returncode:
            for line in filter(None, lines):  # one that does not install must not take the others with it
                subprocess.run([*pip, line], stdout=sys.stderr)
        stamp.touch()
    return str(python)
