from __future__ import annotations

from collections.abc import Iterator

import pytest

from app.bootstrap import build_core
from app.config import Settings
from tests.retrieval.shelves import TEXTS, Shelf


@pytest.fixture
def shelf(settings: Settings) -> Iterator[Shelf]:
    with build_core(settings) as core:
        core.embedders.start()
        shelf = Shelf(core)
        for name, text in TEXTS.items():
            shelf.put(text, filename=f"{name}.txt", metadata={"name": name})
        yield shelf
