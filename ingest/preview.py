"""How one file would be cut, without storing it: `app.preview` runs this as a process of its own.

It reads a request from standard input, a line of JSON, and answers with lines of JSON: texts whose tokens it wants to
be told, any number of times, and at last the chunks or what is wrong with the file. The parser runs in its sandbox here
as it does in the worker. There is no tokenizer here: the server has one, and another would take ten seconds to load.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from app.config import ParseLimits
from app.errors import EmptyDocument, FootnoteError
from app.types import Chunk, PdfEngine
from ingest.chunking import chunk, with_page_labels
from ingest.sandbox import ParserPool
from ingest.sections import assemble

_MOST_CHARACTERS = 2_000_000  # a preview is for looking at
_MOST_OUTPUT_BYTES = 16 * 1024 * 1024


def main() -> None:
    request = json.loads(sys.stdin.readline())
    try:
        reply = _preview(request)
    except FootnoteError as error:
        reply = {"error": type(error).__name__, "message": error.message}
    _say(reply)


def _preview(request: Mapping[str, Any]) -> dict[str, Any]:
    limits = ParseLimits(**request["limits"])
    limits = limits.model_copy(update={"output_bytes": min(limits.output_bytes, _MOST_OUTPUT_BYTES)})
    with ParserPool(1, limits, _MOST_CHARACTERS, pdf_engine=PdfEngine(request["pdf_engine"])) as parsers:
        parsed = parsers.parse(Path(request["path"]), request["media_type"], request["filename"], request["password"])
    text, spans = assemble(parsed.sections)
    chunks = chunk(text, spans, _count_tokens, budget=request["chunk_tokens"], overlap=request["chunk_overlap_tokens"])
    if not chunks:
        raise EmptyDocument
    return {
        "pages": parsed.pages,
        "warnings": parsed.warnings,
        "chunks": [_as_json(each) for each in with_page_labels(chunks, parsed.page_labels)],
    }


def _as_json(chunk: Chunk) -> dict[str, Any]:
    return {
        "ordinal": chunk.ordinal,
        "page": chunk.page,
        "page_label": chunk.page_label,
        "headings": [*chunk.headings, chunk.header] if chunk.header else chunk.headings,
        "start": chunk.start,
        "end": chunk.end,
        "tokens": chunk.tokens,
        "text": chunk.text,
    }


def _count_tokens(texts: Sequence[str]) -> list[int]:
    _say({"count": texts})
    counts: list[int] = json.loads(sys.stdin.readline())
    return counts


def _say(message: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
