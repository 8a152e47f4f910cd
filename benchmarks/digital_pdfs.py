"""The PDFs of the data folder that have a text: `pdfs/manifest.jsonl`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class DigitalPdf:
    """A real file; `markers` are snippets of its text without white space."""

    path: Path
    pages: int
    markers: Sequence[str]


def digital_pdfs(data: Path) -> list[DigitalPdf]:
    """Neither scans nor what needs a password."""
    folder = data / "pdfs"
    lines = (folder / "manifest.jsonl").read_text("utf-8").splitlines()
    return [
        DigitalPdf(folder / each["name"], each["pages"], each["must_contain_nospace"])
        for each in map(json.loads, lines)
        if each["expected"] == "parse"
    ]
