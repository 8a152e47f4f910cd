"""Images: formats, pages, turned cameras, bombs, damage."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from printed import drawn, picture, write

from app.errors import DocumentTooExpensive, EmptyDocument, IngestionError, UnreadableDocument
from app.media_types import MediaType, detect
from ingest.parsers import ocr, parse
from ingest.sections import Limits, Parsed, assemble

needs_ocr = pytest.mark.skipif(not ocr.is_installed(), reason="the extra `ocr` is not installed")
TEXT = "Fifteen days of leave"


@pytest.fixture(scope="module")
def printed() -> Image.Image:
    """A small picture of one line."""
    return picture(drawn(lambda canvas: write(canvas, [TEXT], size=14))).crop((150, 150, 900, 320))


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Parsed]:
    def read(image: Image.Image | bytes, media_type: str, limits: Limits | None = None, **options: object) -> Parsed:
        path = tmp_path / "image"
        if isinstance(image, bytes):
            path.write_bytes(image)
        else:
            image.save(path, MediaType(media_type).name, **options)
        assert detect("image", path.read_bytes()) == media_type
        return parse(path, media_type, limits)

    return read


@needs_ocr
@pytest.mark.parametrize(
    ("media_type", "mode"),
    [
        (MediaType.PNG, "1"),
        (MediaType.PNG, "I;16"),
        (MediaType.JPEG, "L"),
        (MediaType.TIFF, "P"),
        (MediaType.WEBP, "RGBA"),
    ],
)
def test_formats(read, printed: Image.Image, media_type: MediaType, mode: str) -> None:  # type: ignore[no-untyped-def]
    """Every format and kind of pixel is read, and the document says how."""
    image = printed.point(lambda value: value * 257, "I").convert("I;16") if mode == "I;16" else printed.convert(mode)
    parsed = read(image, media_type)
    assert assemble(parsed.sections)[0] == TEXT
    assert (parsed.pages, parsed.warnings) == (1, ("The image was read by OCR.",))


@needs_ocr
def test_pages(read, printed: Image.Image) -> None:  # type: ignore[no-untyped-def]
    """Each picture of a TIFF is a page; too many are refused."""
    parsed = read(printed, MediaType.TIFF, save_all=True, append_images=[printed])
    assert [(section.page, section.text) for section in parsed.sections] == [(1, TEXT), (2, TEXT)]
    with pytest.raises(DocumentTooExpensive, match="2 pages; 1 are allowed"):
        read(printed, MediaType.TIFF, Limits(max_pages=1), save_all=True, append_images=[printed])


@needs_ocr
def test_camera_orientation(read, printed: Image.Image) -> None:  # type: ignore[no-untyped-def]
    """A picture is turned as its camera says."""
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    assert read(printed.rotate(90, expand=True), MediaType.JPEG, exif=exif).sections[0].text == TEXT


@needs_ocr
def test_transparent(read, printed: Image.Image) -> None:  # type: ignore[no-untyped-def]
    """What is transparent counts as white paper."""
    black = Image.new("L", printed.size, 0)
    ink = Image.merge("LA", (black, printed.point(lambda value: 255 - value)))
    assert read(ink, MediaType.PNG).sections[0].text == TEXT


@needs_ocr
def test_nothing_to_read(read) -> None:  # type: ignore[no-untyped-def]
    """A picture without text is an empty document."""
    with pytest.raises(EmptyDocument, match="No text"):
        read(Image.new("RGB", (200, 100), "white"), MediaType.PNG)


@needs_ocr
@pytest.mark.parametrize("side", [9000, 60_000])
def test_bombs(read, side: int) -> None:  # type: ignore[no-untyped-def]
    """A small file that would become a picture of too many pixels is refused before it is opened."""
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")]
    data = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    )
    with pytest.raises(DocumentTooExpensive, match="pixels"):
        read(data, MediaType.PNG)


@needs_ocr
@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
def test_cut_files(read, printed: Image.Image, tmp_path: Path, share: float) -> None:  # type: ignore[no-untyped-def]
    """A file that was cut off fails clearly."""
    for media_type in (MediaType.PNG, MediaType.JPEG, MediaType.TIFF, MediaType.WEBP):
        printed.save(tmp_path / "whole", media_type.name)
        data = (tmp_path / "whole").read_bytes()
        with pytest.raises(IngestionError) as caught:
            read(data[: int(len(data) * share)], media_type)
        assert caught.type in (UnreadableDocument, EmptyDocument)


def test_without_ocr(read, printed: Image.Image, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    """Without the extra an image fails with the name of the extra."""
    monkeypatch.setattr(ocr, "is_installed", lambda: False)
    with pytest.raises(EmptyDocument, match=r"pip install footnote\[ocr\]"):
        read(printed, MediaType.PNG)
