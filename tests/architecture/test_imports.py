"""Who may import whom: read from the source, so that it stays as it was drawn."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Each layer may import itself and those below it.
LAYERS: tuple[tuple[str, ...], ...] = (
    (
        *("app.__main__", "app.main", "app.server", "app.cli_output", "app.supervisor", "app.backup", "app.doctor"),
        *("app.cli_calibrate", "app.cli_mcp", "app.cli_sync", "app.reindexing", "ingest"),
    ),
    ("app.bootstrap", "app.api", "app.evaluation"),
    ("app.answering",),
    ("app.retrieval",),
    ("app.projection",),
    ("app.index", "app.store", "app.embedding"),
    ("app.client", "app.client_records", "app.folder", "app.folder_sync", "app.fetching", "app.preview"),
    (
        *("app.config", "app.cores", "app.failpoints", "app.telemetry", "app.types", "app.errors", "app.sentences"),
        *("app.media_types", "app.signatures"),
    ),
)


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {
    name_of(path): path
    for package in ("app", "ingest")
    for path in sorted((ROOT / package).rglob("*.py"))
    if "migrations" not in path.parts
}


def imports(module: str, *, at_load: bool = False) -> Iterator[str]:
    """What a module imports: modules of ours by their own names, all others as they are written."""
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    nodes = ast.iter_child_nodes(tree) if at_load else ast.walk(tree)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            assert node.module
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in MODULES else node.module


def layer(module: str) -> int:
    """The index of the module's layer; the longest name that fits decides."""
    fits = [
        (len(name), depth)
        for depth, names in enumerate(LAYERS)
        for name in names
        if module == name or module.startswith(f"{name}.")
    ]
    assert fits, f"{module} belongs to no layer"
    return max(fits)[1]


@pytest.mark.parametrize("module", [name for name in MODULES if name not in ("app", "ingest")])
def test_imports_go_down(module: str) -> None:
    """A module imports its own layer and those below, never one above."""
    above = [
        each
        for each in imports(module)
        if each in MODULES and each not in ("app", "ingest") and layer(each) < layer(module)
    ]
    assert above == []


def test_no_modules_import_each_other() -> None:
    """The imports have no circle, not even through an import inside a function."""
    graph = {module: {each for each in imports(module) if each in MODULES} - {module} for module in MODULES}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" → ".join(error.args[1]))


def test_the_server_knows_nothing_of_ingestion() -> None:
    """`ingest` may import `app`, never the reverse."""
    for module in MODULES:
        if module.startswith("app"):
            assert not [each for each in imports(module) if each.split(".")[0] == "ingest"], module


@pytest.mark.parametrize("library", ["fastapi", "starlette"])
def test_the_web_framework_stays_at_the_edge(library: str) -> None:
    """Only the application and its routes know the web framework; the worker does without."""
    knowing = {module for module in MODULES if any(each.split(".")[0] == library for each in imports(module))}
    assert {module for module in knowing if module != "app.main" and not module.startswith("app.api.")} == set()


@pytest.mark.parametrize(
    ("library", "home"),
    [
        ("sqlalchemy", ("app.store", "app.doctor", "app.projection")),
        ("alembic", ("app.store",)),
        ("faiss", ("app.index",)),
        ("tantivy", ("app.index",)),
        ("torch", ("app.embedding",)),
        ("sentence_transformers", ("app.embedding",)),
        ("uvicorn", ("app.server",)),
        ("httpcore", ("app.fetching",)),
        ("jinja2", ("app.answering.templates",)),
        ("pypdf", ("ingest.parsers",)),
        ("docx", ("ingest.parsers",)),
        ("pathspec", ("app.folder",)),
        ("mcp", ("app.api.mcp",)),
        ("sklearn", ("app.evaluation",)),
    ],
)
def test_a_library_has_a_home(library: str, home: tuple[str, ...]) -> None:
    """Each heavy library is known in one part alone."""
    for module in MODULES:
        if any(each.split(".")[0] == library for each in imports(module)):
            assert module.startswith(home), f"{module} imports {library}"


def test_models_are_not_imported_at_load() -> None:
    """Importing the embedding package costs no model library: those come with the first model."""
    for module in MODULES:
        libraries = {each.split(".")[0] for each in imports(module, at_load=True)}
        assert not libraries & {"torch", "sentence_transformers", "transformers"}, module
