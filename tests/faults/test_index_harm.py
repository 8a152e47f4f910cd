"""Files of the index are harmed: it is noticed, the database makes them anew, and the answers stay the same."""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from app.embedding.models import HashingEmbedder
from app.errors import IndexDamaged
from app.index.manifest import CURRENT, read_manifest, read_pointer
from app.index.protocol import Hit
from app.store.spaces import index_name
from tests.faults import forks, traffic
from tests.faults.operations import leave_merges_to_the_worker
from tests.faults.oracle import text_of
from tests.faults.sizes import FLIPS, FULL
from tests.faults.workbench import Workbench
from tests.waiting import wait_until

DOCUMENTS, QUERIES, BEST = 12, 50, 10
WORDS = [first + second for first in ("ba", "de", "ki", "lo", "mu", "ra") for second in ("nor", "tis", "vel", "gam")]
EMBEDDER = HashingEmbedder()
Answers = list[list[tuple[float, int]]]
Harm = Callable[[Path, random.Random], None]


@pytest.fixture(scope="module", params=["flat", "clustered"])
def library(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library whose index has several generations behind it, with segments of either kind."""
    data_dir = tmp_path_factory.mktemp("library") / "data"
    assert forks.run(make_library, data_dir, request.param == "clustered") == 0
    return data_dir


def make_library(data_dir: Path, is_clustered: bool) -> None:
    if is_clustered:
        leave_merges_to_the_worker()
    with Workbench(data_dir, clustered_from=1 if is_clustered else 100_000) as bench:
        for number in range(DOCUMENTS):
            name = f"p0u0n{number}"
            bench.upload(name, _text(name, number))
            if number % 2:
                bench.work_once()
            if number == DOCUMENTS - 3:
                bench.keep_house()
        index = bench.projection.index(bench.collection)
        assert index is not None
        assert is_clustered == any("clustered" in segment.kind for segment in index.describe().segments)


def _text(name: str, edition: int) -> str:
    """Words drawn by number, so that no two chunks score the same; the marks are those of `text_of`."""
    dice = random.Random(edition)
    pieces = [f"house{name}x edition{edition}q {' '.join(dice.choices(WORDS, k=12))}." for _ in range(30)]
    return "\n\n".join(pieces)


@pytest.fixture
def data_dir(library: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(library, tmp_path / "data"))


def ask(bench: Workbench) -> Answers:
    """The best ten of fifty queries, of both legs, as a server finds them: damage is healed on the way."""
    try:
        return _ask(bench)
    except IndexDamaged:
        bench.projection.heal(bench.collection.id)
        return _ask(bench)


def _ask(bench: Workbench) -> Answers:
    collection = bench.collection
    bench.projection.sync(collection.id)  # as it does where the folder was lost
    index = bench.projection.index(collection)
    assert index is not None
    with bench.database.read() as connection:
        allowed = bench.projection.allowed(connection, collection, None)
    answers = []
    for number in range(QUERIES):
        query = " ".join(random.Random(f"query {number}").choices(WORDS, k=4))
        snapshot = index.snapshot()
        dense = snapshot.search_dense(EMBEDDER.embed_queries([query])[0], BEST, allowed)
        answers += [_rounded(dense), _rounded(snapshot.search_lexical(query, BEST, allowed))]
    return answers


def _rounded(hits: Sequence[Hit]) -> list[tuple[float, int]]:
    """Float32 sums depend on where a vector lies in its segment, in their last digits."""
    return sorted((-round(hit.score, 3), hit.id) for hit in hits)


def folder_of(bench: Workbench) -> Path:
    return bench.settings.index_dir / index_name(bench.collection.id, bench.collection.space or 1)


def files_in_use(folder: Path) -> list[Path]:
    """`CURRENT`, and everything that follows from it."""
    pointer = read_pointer(folder)
    assert pointer is not None
    manifest = read_manifest(folder, pointer)
    assert manifest.lexical is not None
    files = [folder / CURRENT, folder / manifest.name]
    files += [folder / "segments" / file for segment in manifest.segments for file in segment.files]
    return files + [folder / manifest.lexical.name / file for file in manifest.lexical.files]


def put(path: Path, content: bytes) -> None:
    """Other bytes under its name, in another file: what is mapped stays as it is."""
    other = path.with_name("other")
    other.write_bytes(content)
    other.replace(path)


def flip(path: Path, dice: random.Random) -> None:
    data = bytearray(path.read_bytes())
    data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
    put(path, bytes(data))


def flip_in_place(path: Path, dice: random.Random) -> None:
    with path.open("r+b") as file:
        at = dice.randrange(path.stat().st_size)
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1 << dice.randrange(8)]))


def truncate_in_place(path: Path, dice: random.Random) -> None:
    os.truncate(path, dice.choice([0, dice.randrange(path.stat().st_size)]))


def truncate(path: Path, dice: random.Random) -> None:
    put(path, path.read_bytes()[: dice.randrange(1, path.stat().st_size)])


def empty(path: Path, dice: random.Random) -> None:
    put(path, b"")


def delete(path: Path, dice: random.Random) -> None:
    path.unlink()


def lengthen(path: Path, dice: random.Random) -> None:
    put(path, path.read_bytes() + b"\0")


def dangle(path: Path, dice: random.Random) -> None:
    """A pointer of the right form to a manifest that is not there, or a link to nowhere."""
    current = path.parent / CURRENT if (path.parent / CURRENT).exists() else path.parent.parent / CURRENT
    if dice.random() < 0.5:
        current.write_text(json.dumps({"manifest": "manifest-999.json", "sha256": "0" * 64}))
    else:
        current.unlink()
        current.symlink_to("manifest-999.json")


HARMS: tuple[Harm, ...] = (flip, truncate, empty, delete, lengthen)
IN_PLACE: tuple[Harm, ...] = (flip_in_place, truncate_in_place) if sys.platform == "linux" else (flip_in_place,)


def examine(data_dir: Path, before: Answers, what: str, *, must_notice: bool) -> None:
    """A new process finds the damage, heals it, and answers as before."""
    with Workbench(data_dir) as bench:
        index = bench.projection.index(bench.collection)
        assert index is not None
        found = bench.projection.problems(bench.collection)
        assert found or not must_notice, f"unnoticed: {what}"
        assert ask(bench) == before, f"other answers: {what}"
        assert bench.projection.problems(bench.collection) == [], what


@pytest.mark.timeout(120 + FLIPS)
def test_one_flipped_bit(library: Path, tmp_path: Path) -> None:
    """A single bit, anywhere in the files that are in use, does not change an answer."""
    seed = random.randrange(2**32)
    dice = random.Random(seed)
    with Workbench(shutil.copytree(library, tmp_path / "whole")) as bench:
        before = ask(bench)
    for number in range(FLIPS):
        data_dir = shutil.copytree(library, tmp_path / str(number))
        (folder,) = (data_dir / "index").iterdir()
        files = files_in_use(folder)
        path = dice.choices(files, [file.stat().st_size for file in files])[0]
        flip(path, dice)
        examine(data_dir, before, f"a bit of {path.name} (seed {seed})", must_notice=True)


@pytest.mark.timeout(400)
def test_every_file_is_harmed(library: Path, tmp_path: Path) -> None:
    """Truncated, emptied, deleted, lengthened: whatever happens to a file in use, the database makes it anew."""
    seed = random.randrange(2**32)
    dice = random.Random(seed)
    with Workbench(shutil.copytree(library, tmp_path / "whole")) as bench:
        before = ask(bench)
        kinds = {path.suffix or path.name for path in files_in_use(folder_of(bench))}
    for kind in sorted(kinds):
        for harm in HARMS if FULL else dice.sample(HARMS, 1):
            data_dir = shutil.copytree(library, tmp_path / f"{kind}-{harm.__name__}")
            (folder,) = (data_dir / "index").iterdir()
            path = next(path for path in files_in_use(folder) if (path.suffix or path.name) == kind)
            if not path.stat().st_size and harm is not delete:
                continue
            harm(path, dice)
            # Without a pointer there is no index, which is no damage: it is behind, and follows.
            what = f"{path.name}: {harm.__name__} (seed {seed})"
            examine(data_dir, before, what, must_notice=not (harm is delete and path.name == CURRENT))


@pytest.mark.parametrize("number", range(4))
def test_a_dangling_pointer(number: int, data_dir: Path) -> None:
    """`CURRENT` names what is not there."""
    with Workbench(data_dir) as bench:
        before, folder = ask(bench), folder_of(bench)
    dangle(folder / CURRENT, random.Random(number))
    examine(data_dir, before, "a dangling pointer", must_notice=False)


def test_the_pointer_of_yesterday(data_dir: Path) -> None:
    """The generation before, put back by somebody: the index follows the database again."""
    with Workbench(data_dir) as bench:
        before, folder = ask(bench), folder_of(bench)
        pointer = (folder / CURRENT).read_bytes()
        bench.upload("more", text_of("more", 1))
        bench.work_once()
        (folder / CURRENT).write_bytes(pointer)
    with Workbench(data_dir) as bench:
        assert ask(bench) != before  # the new document is among the answers
        assert bench.search("housemorex")
        assert bench.projection.problems(bench.collection) == []


def test_strange_files(data_dir: Path) -> None:
    """What nobody of us has written is in nobody's way."""
    with Workbench(data_dir) as bench:
        before, folder = ask(bench), folder_of(bench)
    for strange in ("notes.txt", "segments/notes.txt", "segments/0.faiss", "manifest-7x.json", ".x.tmp", "CURRENT.bak"):
        (folder / strange).write_bytes(os.urandom(100))
    (folder / "lexical-strange").mkdir()
    (folder / "manifest-500.json").mkdir()
    (folder.parent / "not-a-collection").mkdir()
    examine(data_dir, before, "strange files", must_notice=False)
    with Workbench(data_dir) as bench:
        bench.upload("more", text_of("more", 1))
        bench.work_once()
        assert bench.search("housemorex")
        assert bench.projection.problems(bench.collection) == []


@pytest.mark.timeout(300)
def test_under_a_running_server(data_dir: Path, tmp_path: Path) -> None:
    """A server that is asked all the time while its files are harmed never ends, and never answers wrongly."""
    seed = random.randrange(2**32)
    dice = random.Random(seed)
    log = tmp_path / "log"
    log.touch()
    plan = traffic.Plan(data_dir, log, 0, 1, 0, 4, seed, may_be_unavailable=True)
    with Workbench(data_dir) as bench:
        before, folder = ask(bench), folder_of(bench)
    server = forks.start(traffic.use, plan)
    try:
        for _ in range(FLIPS):
            wait_until(lambda: _is_sound(data_dir), 30, f"the server to heal its index (seed {seed})")
            harm = dice.choice([*HARMS, *IN_PLACE, dangle])
            path = dice.choice([each for each in files_in_use(folder) if each.stat().st_size])
            harm(path, dice)
            if path.name.startswith("manifest"):  # the server has its content: only a new process notices
                examine(data_dir, before, "a manifest", must_notice=False)
        assert server.exitcode is None, f"the server ended with {server.exitcode} (seed {seed})"
    finally:
        server.kill()
        server.join()
    assert not traffic.read(log).wrong
    examine(data_dir, before, f"all of it (seed {seed})", must_notice=False)


def _is_sound(data_dir: Path) -> bool:
    with Workbench(data_dir) as bench:
        return bench.projection.problems(bench.collection) == []
