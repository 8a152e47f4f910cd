"""An entailment model beside the checks: a tiny one with random weights, and judges that say what a test wants."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from app.answering.answerer import Answerer, AskRequest
from app.answering.events import CitationFound, Delta, Done
from app.answering.second_opinion import SecondOpinion, combine
from app.embedding.entailment import CrossEncoderEntailment, Entailment
from app.errors import ConfigurationError
from app.types import Check, Passage, Problem, Sentence, Support
from tests.answering.samples import FixedReader, FixedRetriever, make_collection, make_generator, make_settings
from tests.fake_engine import FakeEngine, answer

pytestmark = pytest.mark.anyio

QUESTION = "When did the harbour bridge open?"
TRUE = "The harbour bridge opened in 1932. [2]"
FREE = "Building the bridge needed eight years of hard and dangerous labour. [2]"
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "bridge", "opened", "closed", "in", "1932"]


def save_model(folder: Path, labels: Sequence[str]) -> str:
    """A cross-encoder of a few thousand parameters."""
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = BertConfig(vocab_size=len(WORDS), id2label=dict(enumerate(labels)), num_labels=len(labels), **shape)
    BertForSequenceClassification(config).save_pretrained(folder)
    return str(folder)


class Judge:
    """Says the same of every sentence, and remembers what it was asked."""

    def __init__(self, opinion: Entailment) -> None:
        self.opinion = opinion
        self.batches: list[Sequence[tuple[str, str]]] = []

    def judge(self, pairs: Sequence[tuple[str, str]]) -> list[Entailment]:
        self.batches.append(pairs)
        return [self.opinion] * len(pairs)


@pytest.fixture
def opinions() -> Iterator[list[SecondOpinion]]:
    """Closed when the test ends."""
    opened: list[SecondOpinion] = []
    yield opened
    for opinion in opened:
        opinion.close()


async def loaded(judge: Judge) -> SecondOpinion:
    opinion = SecondOpinion(lambda: judge)
    await asyncio.wrap_future(opinion._model)
    return opinion


@pytest.mark.parametrize(
    "labels", [["contradiction", "entailment", "neutral"], ["ENTAILMENT", "NEUTRAL", "CONTRADICTION"]]
)
def test_labels_say_what_the_scores_mean(tmp_path: Path, labels: list[str]) -> None:
    """Wherever a model has its labels, its probabilities are read by their names."""
    model = CrossEncoderEntailment(save_model(tmp_path / "model", labels), device="cpu")
    found = model.judge([("The bridge opened in 1932", "the bridge closed"), ("The bridge", "opened")])
    raw = model._model.predict([("The bridge opened in 1932", "the bridge closed")], apply_softmax=True)[0]
    lower = [label.lower() for label in labels]
    assert found[0].entailed == pytest.approx(float(raw[lower.index("entailment")]), abs=1e-5)
    assert found[0].contradicted == pytest.approx(float(raw[lower.index("contradiction")]), abs=1e-5)
    assert len(found) == 2
    assert model.judge([]) == []


def test_a_model_that_tells_no_entailment(tmp_path: Path) -> None:
    """A model whose labels do not name entailment, or that is not there, is a wrong configuration."""
    with pytest.raises(ConfigurationError, match="not_entailment"):
        CrossEncoderEntailment(save_model(tmp_path / "model", ["relevant", "not_entailment"]), device="cpu")
    with pytest.raises(ConfigurationError, match="could not be loaded"):
        CrossEncoderEntailment(str(tmp_path / "nowhere"), device="cpu")


@pytest.mark.parametrize(
    ("support", "problems", "opinion", "combined"),
    [
        (Support.PARTIAL, (), Entailment(0.9, 0.0), Support.SUPPORTED),
        (Support.UNSUPPORTED, (), Entailment(0.9, 0.0), Support.SUPPORTED),
        (Support.UNSUPPORTED, (Problem(Check.NUMBERS, "9"),), Entailment(0.9, 0.0), Support.UNSUPPORTED),
        (Support.SUPPORTED, (), Entailment(0.1, 0.8), Support.UNSUPPORTED),
        (Support.SUPPORTED, (), Entailment(0.3, 0.2), Support.SUPPORTED),
        (Support.PARTIAL, (), Entailment(0.5, 0.2), Support.PARTIAL),
    ],
)
def test_two_opinions(support: Support, problems: tuple[Problem, ...], opinion: Entailment, combined: Support) -> None:
    """A contradiction always counts; entailment counts where no check failed."""
    assert combine(Sentence(0, 9, (1,), support, 0.5, problems=problems), opinion).support is combined


async def ask(
    engine: FakeEngine, client: object, passages: list[Passage], opinion: SecondOpinion, unsupported: str
) -> tuple[list[str], list[CitationFound], Done]:
    generator = make_generator(engine, client)  # type: ignore[arg-type]
    answerer = Answerer(
        retriever=FixedRetriever(passages),  # type: ignore[arg-type]
        generator=generator,
        settings=make_settings(),
        reader=FixedReader(passages),  # type: ignore[arg-type]
        second_opinion=opinion,
    )
    collection = make_collection(unsupported=unsupported)
    events = [event async for event in answerer.ask(AskRequest(QUESTION), collection=collection)]
    assert isinstance(events[-1], Done)
    deltas = [event.text for event in events if isinstance(event, Delta)]
    return deltas, [event for event in events if isinstance(event, CitationFound)], events[-1]


async def test_the_end_of_an_answer_has_the_final_verdict(
    engine: FakeEngine, client: object, passages: list[Passage], opinions: list[SecondOpinion]
) -> None:
    """All sentences are judged in one batch at the end; the stream has the checks' verdict, `done` the final one."""
    engine.script(answer(f"{TRUE} {FREE} {TRUE}"))
    judge = Judge(Entailment(0.95, 0.01))
    opinions.append(await loaded(judge))
    _, found, done = await ask(engine, client, passages, opinions[0], "keep")
    assert [event.sentence.support for event in found] == [Support.SUPPORTED, Support.PARTIAL, Support.SUPPORTED]
    assert [sentence.support for sentence in done.answer.sentences] == [Support.SUPPORTED] * 3
    (batch,) = judge.batches
    assert [words for _, words in batch] == [each.removesuffix(" [2]") for each in (TRUE, FREE, TRUE)]
    assert {passage for passage, _ in batch} == {passages[1].text}
    assert "entailment" in done.answer.timings_ms


async def test_nothing_is_removed_before_it_is_judged(
    engine: FakeEngine, client: object, passages: list[Passage], opinions: list[SecondOpinion]
) -> None:
    """Where unsupported sentences are removed, the final verdict decides."""
    engine.script(answer(f"{TRUE} {FREE}"), answer(TRUE))
    opinions.append(await loaded(Judge(Entailment(0.95, 0.01))))
    deltas, _, done = await ask(engine, client, passages, opinions[0], "remove")
    assert "".join(deltas) == done.answer.text == f"{TRUE} {FREE}"
    opinions.append(await loaded(Judge(Entailment(0.01, 0.95))))
    _, _, done = await ask(engine, client, passages, opinions[1], "remove")
    assert (done.answer.answerable, done.answer.sentences) == (False, ())


async def test_an_answer_does_not_wait_for_a_model(
    engine: FakeEngine, client: object, passages: list[Passage], opinions: list[SecondOpinion]
) -> None:
    """While the model loads, and where it cannot be loaded or fails, answers stand as the checks left them."""
    go_on = threading.Event()

    def load_slowly() -> Judge:
        go_on.wait(30)
        return Judge(Entailment(0.0, 1.0))

    class Broken(Judge):
        def judge(self, pairs: Sequence[tuple[str, str]]) -> list[Entailment]:
            raise RuntimeError("out of memory")

    def fail() -> Judge:
        raise ConfigurationError("no such model")

    opinions += [SecondOpinion(load_slowly), SecondOpinion(fail), await loaded(Broken(Entailment(0.0, 1.0)))]
    try:
        for opinion in opinions:
            engine.script(answer(TRUE))
            _, _, done = await ask(engine, client, passages, opinion, "keep")
            assert [sentence.support for sentence in done.answer.sentences] == [Support.SUPPORTED]
        assert [opinion.problem for opinion in opinions] == ["the entailment model is loading", "no such model", None]
    finally:
        go_on.set()
