"""Questions whose answers are known, as JSON lines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.errors import InvalidRequest


class KnownQuestion(BaseModel):
    """A line: a question, and whether the collection answers it, or which documents do.

    `answerable` need not be given beside `answers` or `documents`. With `documents` (ids, external ids or file names)
    the question is asked a second time with those left out, and then nothing answers it.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    question: str = Field(min_length=1, max_length=20_000)
    answerable: bool | None = None
    answers: tuple[str, ...] = ()
    documents: tuple[str, ...] = ()

    @property
    def is_answerable(self) -> bool:
        return bool(self.answers or self.documents) if self.answerable is None else self.answerable


def read_questions(path: Path) -> Sequence[KnownQuestion]:
    """The questions of a file. Raises `InvalidRequest`, which names the line."""
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            known = KnownQuestion.model_validate_json(line)
        except ValidationError as error:
            problem = error.errors()[0]
            where = ".".join(map(str, problem["loc"])) or "line"
            raise InvalidRequest(f"{path.name}, line {number}: {where}: {problem['msg']}") from error
        if not {"answerable", "answers", "documents"} & known.model_fields_set:
            raise InvalidRequest(
                f"{path.name}, line {number} tells neither `answerable` nor `answers` nor `documents`."
            )
        found.append(known)
    return found
