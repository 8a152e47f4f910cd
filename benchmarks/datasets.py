"""Documents with questions, as JSON lines: `qa/NAME.docs.jsonl` and `qa/NAME.qa.jsonl` in the data folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class SourceDocument:
    """A document to upload."""

    doc_id: str
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Question:
    """A question, the documents that answer it, and the answers that count as right; none where nothing answers."""

    text: str
    answers: tuple[str, ...]
    doc_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DataSet:
    """Documents, and questions about them."""

    name: str
    documents: Sequence[SourceDocument]
    questions: Sequence[Question]


def read_set(data: Path, name: str, most_questions: int | None = None) -> DataSet:
    """One set of the folder; `most_questions` keeps every document and the first questions."""
    documents = read_documents(data, name)
    lines = (data / "qa" / f"{name}.qa.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines[:most_questions]]
    questions = [Question(each["question"], tuple(each["answers"]), tuple(each["doc_id"])) for each in records]
    return DataSet(name, documents, questions)


def read_documents(data: Path, name: str) -> list[SourceDocument]:
    """The documents of one set, those without any text left out."""
    lines = (data / "qa" / f"{name}.docs.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    return [SourceDocument(each["doc_id"], each["title"], each["text"]) for each in records if each["text"].strip()]
