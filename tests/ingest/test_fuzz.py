"""Damaged files of every format, briefly the same ones, or new ones for as long as `make fuzz` says; and those found.

A finding is a file that crashes its parser, keeps it busy beyond its time, or brings the steps after it to raise; each
is kept in `.fuzz`. Once it is understood, it becomes a case of `test_found`, made there and not stored.
"""

from __future__ import annotations

import hashlib
import io
import os
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from mutations import CHANGES, Change, changed
from PIL import Image, ImageDraw
from test_parse_anything import SAMPLES

from app.config import ParseLimits
from app.errors import IngestionError
from app.media_types import MediaType
from ingest.chunking import chunk
from ingest.sandbox import ParserPool
from ingest.sections import assemble

LONG = "FOOTNOTE_TEST_FUZZ_SECONDS" in os.environ
SECONDS = float(os.environ.get("FOOTNOTE_TEST_FUZZ_SECONDS", "0.4"))
FINDINGS = Path(__file__).resolve().parents[2] / ".fuzz"
# A file of this size takes milliseconds; one that takes seconds of a core would take minutes if it were larger. OCR of
# a picture that claims to be large takes some, and loads its models first.
LIMITS = ParseLimits(seconds=60, cpu_seconds=3, memory_bytes=768 * 1024 * 1024)
LIMITS_OF_IMAGES = ParseLimits(seconds=120, cpu_seconds=60, memory_bytes=1024 * 1024 * 1024)

FOUND: dict[str, tuple[MediaType, Callable[[], bytes]]] = {
    # Every row that closed joined the text of all rows within it anew.
    "tables in tables": (MediaType.HTML, lambda: b"<table><tr><td>1<td>2" * 25_000),
    # libxml2 looked for the element of each end tag among all that were open.
    "end tags of nothing": (MediaType.HTML, lambda: b"</b><table><t>x" * 60_000),
    # A pattern for what may stand behind white space was tried from every space on.
    "spaces in a heading": (MediaType.MARKDOWN, lambda: b"# a" + b" " * 200_000 + b"x"),
    "spaces before a rule": (MediaType.MARKDOWN, lambda: b"a | b\n" + b" " * 200_000 + b"x"),
}


def image(media_type: MediaType) -> bytes:
    """A small picture with a word on it; a TIFF has two."""
    picture = Image.new("RGB", (96, 32), "white")
    ImageDraw.Draw(picture).text((8, 4), "Leave 15", fill="black", font_size=20)
    file = io.BytesIO()
    more = {"save_all": True, "append_images": [picture]} if media_type is MediaType.TIFF else {}
    picture.save(file, media_type.name, **more)
    return file.getvalue()


IMAGES = {each: image(each) for each in (MediaType.PNG, MediaType.JPEG, MediaType.TIFF, MediaType.WEBP)}


@pytest.fixture(scope="module")
def pool() -> Iterator[ParserPool]:
    with ParserPool(1, LIMITS) as pool:
        yield pool


@pytest.fixture(scope="module")
def pool_for_images() -> Iterator[ParserPool]:
    with ParserPool(1, LIMITS_OF_IMAGES) as pool:
        yield pool


def problem(pool: ParserPool, media_type: MediaType, path: Path) -> str | None:
    """What is wrong with how a file was read; None if it was read, or refused with a reason."""
    try:
        parsed = pool.parse(path, media_type, path.name)
    except IngestionError as error:
        return error.message if "crash" in error.message or "longer than" in error.message else None
    try:
        text, spans = assemble(parsed.sections)
        chunks = chunk(text, spans, lambda texts: [len(each) // 4 + 1 for each in texts], budget=200, overlap=40)
        text.encode()
        assert all(text[each.start : each.end] == each.text for each in chunks)
        assert all(each.text.strip() for each in chunks)
    except Exception as error:
        return f"after parsing: {error!r}"
    return None


@pytest.mark.timeout(SECONDS + 300)
@pytest.mark.parametrize("media_type", SAMPLES)
def test_nothing_gets_out(media_type: MediaType, pool: ParserPool, tmp_path: Path) -> None:
    """Whatever is done to a valid file, it is read or refused: no crash, no endless work, no error of another kind."""
    damage(SAMPLES[media_type], media_type, pool, tmp_path)


@pytest.mark.timeout(SECONDS + 300)
@pytest.mark.parametrize("media_type", IMAGES)
def test_nothing_gets_out_of_images(media_type: MediaType, pool_for_images: ParserPool, tmp_path: Path) -> None:
    """The same for pictures, which are read by OCR where it is installed."""
    damage(IMAGES[media_type], media_type, pool_for_images, tmp_path)


def damage(sample: bytes, media_type: MediaType, pool: ParserPool, tmp_path: Path) -> None:
    path = tmp_path / "file"
    deadline = time.monotonic() + SECONDS
    outcomes: Counter[str] = Counter()
    found: dict[str, bytes] = {}

    @settings(
        max_examples=500, deadline=None, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
    )
    @given(changes=CHANGES)
    def read(changes: list[tuple[int, Change]]) -> None:
        if time.monotonic() > deadline or found:
            return
        content = changed(sample, changes)
        path.write_bytes(content)
        reason = problem(pool, media_type, path)
        outcomes["bad" if reason else "fine"] += 1
        if reason:
            found[reason] = content

    rounds = 0
    while time.monotonic() < deadline and not found:
        rounds += 1
        seed(time.time_ns() if LONG else rounds)(read)()
    print(f"\n{media_type}: {outcomes.total()} files in {rounds} rounds")  # noqa: T201
    assert not [kept(media_type, reason, content) for reason, content in found.items()]


def kept(media_type: MediaType, reason: str, content: bytes) -> str:
    """Keep a finding in a file; its place and what happened."""
    FINDINGS.mkdir(exist_ok=True)
    path = FINDINGS / f"{media_type.rpartition('/')[2]}-{hashlib.sha256(content).hexdigest()[:12]}"
    path.write_bytes(content)
    return f"{path}: {reason}"


@pytest.mark.parametrize("name", FOUND)
def test_found(name: str, pool: ParserPool, tmp_path: Path) -> None:
    """What was found once is read or refused, and soon."""
    media_type, make = FOUND[name]
    path = tmp_path / "file"
    path.write_bytes(make())
    assert problem(pool, media_type, path) is None


def test_changes_reach_inside_archives() -> None:
    """A change of a part of an archive leaves one that can be opened, with the other parts as they were."""
    original = SAMPLES[MediaType.DOCX]
    with zipfile.ZipFile(io.BytesIO(original)) as before:
        name = before.namelist()[3]
        after = zipfile.ZipFile(io.BytesIO(changed(original, [(3, Change("insert", 0, data=b"x"))])))
        assert after.testzip() is None
        assert {each for each in before.namelist() if before.read(each) != after.read(each)} == {name}
        assert after.read(name) == b"x" + before.read(name)
