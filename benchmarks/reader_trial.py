"""One reader of PDFs in a process of its own: `python -m benchmarks.reader_trial NAME`.

It says `ready`, or why it cannot start. Then it reads a path a line and answers each with a JSON line: `{"seconds",
"text"}` or `{"seconds", "error"}`, in seconds of processor time, that of its children included. The name `distance`
reads pairs of texts instead, as JSON, and answers with how many characters to insert, remove or replace.
Every reader is used as its own documentation shows it first; what it is built of is made before the first file.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Read = Callable[[str], str]


def _footnote() -> Read:
    parsers: Any = importlib.import_module("ingest.parsers")
    sections: Any = importlib.import_module("ingest.sections")
    return lambda path: sections.assemble(parsers.parse(Path(path), "application/pdf").sections)[0]


def _footnote_sandbox() -> Read:
    sandbox: Any = importlib.import_module("ingest.sandbox")
    config: Any = importlib.import_module("app.config")
    sections: Any = importlib.import_module("ingest.sections")
    pool = sandbox.ParserPool(1, config.ParseLimits())
    pool.warm()
    return lambda path: sections.assemble(pool.parse(Path(path), "application/pdf", path).sections)[0]


def _markitdown() -> Read:
    converter = importlib.import_module("markitdown").MarkItDown()
    return lambda path: converter.convert(path).text_content


def _pypdf() -> Read:
    pypdf: Any = importlib.import_module("pypdf")
    return lambda path: "\n".join(page.extract_text() for page in pypdf.PdfReader(path).pages)


def _pypdfium2() -> Read:
    pypdfium2: Any = importlib.import_module("pypdfium2")
    return lambda path: "\n".join(page.get_textpage().get_text_range() for page in pypdfium2.PdfDocument(path))


def _llama_index() -> Read:
    reader = importlib.import_module("llama_index.readers.file").PDFReader()
    return lambda path: "\n".join(document.text for document in reader.load_data(Path(path)))


def _unstructured() -> Read:
    os.environ["UNSTRUCTURED_DISABLE_NOTICE"] = "1"
    partition: Any = importlib.import_module("unstructured.partition.pdf").partition_pdf
    # It reads nothing, and does not say so, where it cannot load the model that tells what a text is.
    importlib.import_module("unstructured.partition.text").element_from_text("A sentence.")
    # The one strategy that needs no model of the layout.
    return lambda path: "\n".join(element.text for element in partition(filename=path, strategy="fast"))


def _docling() -> Read:
    converter = importlib.import_module("docling.document_converter").DocumentConverter()
    converter.initialize_pipeline(importlib.import_module("docling.datamodel.base_models").InputFormat.PDF)
    return lambda path: converter.convert(path).document.export_to_markdown()


READERS: dict[str, Callable[[], Read]] = {
    "footnote": _footnote_sandbox,
    "footnote, no sandbox": _footnote,
    "pypdfium2": _pypdfium2,
    "pypdf": _pypdf,
    "llama-index": _llama_index,
    "markitdown": _markitdown,
    "unstructured": _unstructured,
    "docling": _docling,
}


def main() -> None:
    """The child."""
    logging.disable(logging.CRITICAL)  # they comment on every damaged object
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints is no answer
    if sys.argv[1] == "distance":
        levenshtein: Any = importlib.import_module("rapidfuzz.distance.Levenshtein")
        for line in sys.stdin:
            print(levenshtein.distance(*json.loads(line)), file=answers, flush=True)
        return
    try:
        read = READERS[sys.argv[1]]()
    except Exception as error:
        print(_say(error), file=answers)
        sys.exit(1)
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        started = _processor_seconds()
        try:
            reply: dict[str, Any] = {"text": read(line.rstrip("\n"))}
        except Exception as error:  # what a reader says of a file is what was found
            reply = {"error": _say(error)}
        reply["seconds"] = _processor_seconds() - started
        print(json.dumps(reply), file=answers, flush=True)


def _processor_seconds() -> float:
    """Of this process and those that it has started, which other work on the machine hardly changes."""
    ended = os.times()
    seconds = time.process_time() + ended.children_user + ended.children_system
    for task in Path("/proc/self/task").iterdir():
        for child in (task / "children").read_text().split():
            fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
            seconds += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # in user and system mode
    return seconds


def _say(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


if __name__ == "__main__":
    main()
