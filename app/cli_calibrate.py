"""`footnote calibrate`: asks a collection questions whose answers are known, and sets its confidence by them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from app.answering.confidence import FEATURES, Model, script_of
from app.answering.features import Features
from app.cli_output import printable, progress_bar
from app.client import Client
from app.errors import InvalidRequest
from app.evaluation.calibration import LEAST_OF_A_KIND, Array, Asked, Fitted, Truths, fit
from app.evaluation.metrics import auroc, calibration_error, threshold_for
from app.evaluation.questions import KnownQuestion, read_questions
from app.types import Mode


@dataclass(frozen=True, slots=True)
class Reply:
    """What the server said to one question."""

    asked: Asked
    script: str
    confidence: float
    refused: bool
    model: Model  # behind the confidence


def calibrate(
    client: Client, console: Console, dataset: Path, *, collection: str, most_refused: float, dry_run: bool
) -> None:
    """Ask, fit a model for each script that has enough questions, show what it changes, and store it.

    Raises `InvalidRequest` where the questions do not suffice.
    """
    embedding_model = client.collection(collection).get("embedding_model")
    replies = list(_ask(client, console, read_questions(dataset), collection))
    fitted = {script: fitted for script in ("spaced", "cjk") if (fitted := _fit(replies, script)) is not None}
    if not fitted or embedding_model is None:
        raise InvalidRequest(
            f"Too few questions: it takes {LEAST_OF_A_KIND} that the collection answers and {LEAST_OF_A_KIND} that it "
            "does not answer, all in languages with spaces or all in Chinese, each with passages found."
        )
    truths = _truths(replies)
    after = _held_out(replies, fitted)
    threshold = threshold_for(after, truths, most_refused)
    _show(console, replies, fitted, after, threshold)
    if dry_run:
        return
    models = {script: asdict(found.model) for script, found in fitted.items()}
    calibration = {"features": FEATURES, "embedding_model": embedding_model, **models}
    client.change_collection(collection, {"calibration": calibration, "answer_threshold": threshold})
    console.print(f"Stored with {printable(collection)}, with an answer_threshold of {threshold}.", highlight=False)


def _ask(client: Client, console: Console, known: Sequence[KnownQuestion], collection: str) -> Iterator[Reply]:
    """Each question once; one with documents a second time, without them. Those that found nothing teach nothing."""
    tries: list[tuple[KnownQuestion, bool, Mapping[str, Any] | None]] = []
    for one in known:
        tries.append((one, one.is_answerable, None))
        if one.documents:
            tries.append((one, False, _without(one.documents)))
    with progress_bar(console) as bar:
        task = bar.add_task("", total=len(tries), doing="asking")
        for one, answerable, filters in tries:
            answer = client.answer(
                one.question, collection=collection, mode=Mode.EXTRACT, filters=filters, explain=True
            )
            bar.advance(task)
            behind = (answer.get("explain") or {}).get("confidence")
            if behind is not None:
                yield Reply(
                    Asked(Features(**behind["features"]), answerable),
                    script_of(one.question),
                    answer["confidence"],
                    not answer["answerable"],
                    Model(behind["constant"], behind["weights"]),
                )


def _without(documents: Sequence[str]) -> Mapping[str, Any]:
    named = [{field: {"$in": list(documents)}} for field in ("document_id", "external_id", "filename")]
    return {"$and": [{"$not": each} for each in named]}


def _fit(replies: Sequence[Reply], script: str) -> Fitted | None:
    of_script = [reply for reply in replies if reply.script == script]
    answerable = sum(reply.asked.answerable for reply in of_script)
    if min(answerable, len(of_script) - answerable) < LEAST_OF_A_KIND:
        return None
    return fit([reply.asked for reply in of_script], of_script[0].model)


def _truths(replies: Sequence[Reply]) -> Truths:
    return np.array([reply.asked.answerable for reply in replies], dtype=np.bool_)


def _held_out(replies: Sequence[Reply], fitted: Mapping[str, Fitted]) -> Array:
    """The probability of each question by a model that has not seen it; as before, where its script has no new one."""
    found = np.array([reply.confidence for reply in replies])
    for script, one in fitted.items():
        found[[reply.script == script for reply in replies]] = one.held_out
    return found


def _show(
    console: Console, replies: Sequence[Reply], fitted: Mapping[str, Fitted], after: Array, threshold: float
) -> None:
    truths = _truths(replies)
    before = np.array([reply.confidence for reply in replies])
    refused = np.array([reply.refused for reply in replies])
    console.print(f"{len(replies)} questions, {int(truths.sum())} of them answerable.", highlight=False)
    for script, one in fitted.items():
        console.print(f"{script}: {one.kind}", highlight=False)
    shown = Table("", "before", "after", box=None, pad_edge=False)
    shown.add_row("AUROC", f"{auroc(before, truths):.3f}", f"{auroc(after, truths):.3f}")
    shown.add_row(
        "expected calibration error",
        f"{calibration_error(before, truths):.3f}",
        f"{calibration_error(after, truths):.3f}",
    )
    wrongly, rightly = refused[truths], refused[~truths]
    shown.add_row("answerable, but refused", _share(wrongly), _share(after[truths] < threshold))
    shown.add_row("not answerable, and refused", _share(rightly), _share(after[~truths] < threshold))
    console.print(shown)
    console.print("After: by five-fold cross-validation, so of questions that the model was not fitted on.")


def _share(of: Truths) -> str:
    return f"{of.mean():.3f}" if len(of) else "–"
