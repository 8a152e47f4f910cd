"""How much the suite does: small in `make test`, as large as `make test-faults` says."""

from __future__ import annotations

import os


def size(name: str, default: int) -> int:
    """`FOOTNOTE_TEST_<name>`, or the size that `make test` can afford."""
    return int(os.environ.get(f"FOOTNOTE_TEST_{name}", default))


FULL = bool(size("FAULTS_FULL", 0))  # every hit of every failpoint, instead of the first one of each
KILLS = size("FAULT_KILLS", 8)
FLIPS = size("FAULT_FLIPS", 10)
TRUNCATIONS = size("FAULT_TRUNCATIONS", 10)
READER_SECONDS = size("FAULT_READER_SECONDS", 3)
DOCUMENTS = size("FAULT_DOCUMENTS", 40)
