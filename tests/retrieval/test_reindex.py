"""Another embedding model for a collection, while it is searched and changed."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from app import reindexing
from app.__main__ import main
from app.config import Settings
from app.errors import CollectionNotFound, Conflict, EmbedderUnavailable, EmbeddingModelChanged, InvalidRequest
from app.reindexing import prune, reindex, roll_back
from app.store.collections import create_collection, get_collection
from app.store.tables import chunks, embeddings
from app.types import Collection
from tests.retrieval.shelves import TEXTS, Shelf

OTHER = "hashing-32"


def collection_of(shelf: Shelf) -> Collection:
    with shelf.database.read() as connection:
        return get_collection(connection, "default")


def is_well(shelf: Shelf, count: int = len(TEXTS)) -> bool:
    """Everything is found by the model that answers, and the index holds what it should."""
    retrieval = shelf.search("dome instrument 圆顶 夜班", top_k=50)
    shelf.core.projection.sync(collection_of(shelf).id)
    assert all(passage.scores.dense is not None for passage in retrieval.passages)
    return len(retrieval.passages) == count and shelf.core.projection.problems(collection_of(shelf)) == []


def silent(what: str, done: int, total: int) -> None:
    """Nobody watches."""


def once(stage: str, act: Callable[[], object]) -> Callable[[str, int, int], None]:
    """Something that happens when a reindex comes to a stage for the first time."""
    pending = [act]

    def progress(what: str, done: int, total: int) -> None:
        if what == stage and pending:
            pending.pop()()

    return progress


def test_the_new_model_answers(shelf: Shelf) -> None:
    """All is found as before, with vectors of the new model, though another one is configured."""
    assert reindex(shelf.core, "default", OTHER, silent)
    collection = collection_of(shelf)
    assert (collection.embedding_model, collection.embedding_dimension, collection.next_model) == (OTHER, 32, None)
    assert is_well(shelf)
    assert shelf.found("When does the dome close?")[0] == TEXTS["dome"]


@pytest.mark.parametrize("stage", ["embedding", "indexing"])
def test_the_old_model_answers_until_then(shelf: Shelf, stage: str) -> None:
    """What comes and goes meanwhile is found and not found, before the switch and after it."""
    gone = shelf.put("A note that goes.")

    def change() -> None:
        assert collection_of(shelf).next_model == OTHER
        shelf.put("A ladder stands behind the dome.")
        shelf.delete(gone)
        assert collection_of(shelf).embedding_model == "hashing"
        assert is_well(shelf, len(TEXTS) + 1)

    reindex(shelf.core, "default", OTHER, once(stage, change))
    assert collection_of(shelf).embedding_model == OTHER
    assert is_well(shelf, len(TEXTS) + 1)
    assert "A note that goes." not in shelf.found("note", top_k=50)


def test_much_that_comes_meanwhile_is_embedded_before_the_switch(shelf: Shelf) -> None:
    """What is more than may be embedded under the lock takes another round."""
    count = reindexing._FEW + 1
    rounds = []

    def progress(what: str, done: int, total: int) -> None:
        if what == "indexing":
            rounds.append(what)
            if len(rounds) == 1:
                for number in range(count):
                    shelf.put(f"Dome note number {number}.")

    reindex(shelf.core, "default", OTHER, progress)
    assert len(rounds) == 2
    assert is_well(shelf, min(50, len(TEXTS) + count))


def test_back_to_the_old_model(shelf: Shelf) -> None:
    """Only what came since is embedded; it is found, and what went is not."""
    gone = shelf.put("A note that goes.")
    with pytest.raises(InvalidRequest, match="no earlier model"):
        roll_back(shelf.core, "default", silent)
    reindex(shelf.core, "default", OTHER, silent)
    shelf.delete(gone)
    shelf.put("A ladder stands behind the dome.")
    embedded = []
    model = roll_back(shelf.core, "default", lambda what, _, total: embedded.append((what, total)))
    assert model == collection_of(shelf).embedding_model == "hashing"
    assert [each for each in embedded if each[0] == "embedding"] == [("embedding", 1)]
    assert is_well(shelf, len(TEXTS) + 1)
    assert "A note that goes." not in shelf.found("note", top_k=50)
    assert roll_back(shelf.core, "default", silent) == OTHER


def create_other(shelf: Shelf) -> None:
    with shelf.database.write() as connection:
        create_collection(connection, "other", {}, time.time())


def test_an_interrupted_reindex_goes_on(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was embedded is not embedded again; meanwhile the old model answers."""
    monkeypatch.setattr(reindexing, "_CHUNKS_TOGETHER", 2)

    def interrupt(what: str, done: int, total: int) -> None:
        if what == "embedding" and done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reindex(shelf.core, "default", OTHER, interrupt)
    assert is_well(shelf)
    totals = []
    reindex(shelf.core, "default", OTHER, lambda what, done, total: totals.append(total))
    assert max(totals) == len(TEXTS) - 2
    assert is_well(shelf)


def test_nothing_is_left_of_other_models(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """After `prune` every vector belongs to the model that answers, and there is no way back."""
    monkeypatch.setattr(reindexing, "_CHUNKS_TOGETHER", 2)
    reindex(shelf.core, "default", OTHER, silent)
    prune(shelf.core, "default", silent)
    collection = collection_of(shelf)
    with shelf.database.read() as connection:
        assert connection.execute(embeddings.select()).all() == []
        assert {row.space for row in connection.execute(chunks.select())} == {collection.space}
    assert [path.name for path in shelf.core.settings.index_dir.glob("col_*")] == [f"{collection.id}.2"]
    shelf.core.projection.rebuild(collection.id)
    assert is_well(shelf)
    with pytest.raises(InvalidRequest):
        roll_back(shelf.core, "default", silent)


def test_vectors_of_the_old_model_are_not_stored_any_more(shelf: Shelf) -> None:
    """A worker that embedded a document before the switch must do it again."""
    shelf.upload("It was on its way.")
    job = shelf.claim()
    assert job is not None
    reindex(shelf.core, "default", OTHER, silent)
    with pytest.raises(EmbeddingModelChanged):
        shelf.store(job, ["It was on its way."])


def test_what_cannot_be_done_changes_nothing(shelf: Shelf) -> None:
    """No such collection or model, nothing to embed, the same model, and another one at it."""
    before = collection_of(shelf)
    create_other(shelf)
    with pytest.raises(CollectionNotFound):
        reindex(shelf.core, "missing", OTHER, silent)
    with pytest.raises(EmbedderUnavailable, match="nowhere"):
        reindex(shelf.core, "default", "/nowhere/at/all", silent)
    with pytest.raises(InvalidRequest, match="holds nothing yet"):
        reindex(shelf.core, "other", OTHER, silent)
    assert not reindex(shelf.core, "default", "hashing", silent)

    def second() -> None:
        with pytest.raises(Conflict):
            reindex(shelf.core, "default", OTHER, silent)

    reindex(shelf.core, "default", "hashing", silent)
    assert collection_of(shelf) == before
    reindex(shelf.core, "default", OTHER, once("embedding", second))


def test_a_deleted_collection_ends_it(shelf: Shelf) -> None:
    """Its reindex fails, and leaves nothing."""

    def delete() -> None:
        with shelf.database.write() as connection:
            connection.exec_driver_sql("DELETE FROM collections WHERE name = 'default'")

    with pytest.raises(CollectionNotFound):
        reindex(shelf.core, "default", OTHER, once("embedding", delete))
    shelf.core.projection.sweep()
    assert list(shelf.core.settings.index_dir.glob("col_*")) == []


def test_the_command(
    shelf: Shelf,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """`footnote reindex` there and back, and `--prune`."""
    monkeypatch.setenv("FOOTNOTE_DATA_DIR", str(settings.data_dir))
    monkeypatch.setenv("FOOTNOTE_EMBEDDING_MODEL", "hashing")
    for arguments, said in (
        (["--model", OTHER], f"default answers with {OTHER} from now on"),
        (["--model", OTHER], f"default answers with {OTHER} already"),
        (["--rollback"], "default answers with hashing again"),
        (["--prune"], "Nothing is left of other models of default"),
    ):
        with pytest.raises(SystemExit) as ended:
            main(["reindex", "default", *arguments])
        assert ended.value.code == 0
        assert said in capsys.readouterr().out
    with pytest.raises(SystemExit) as ended:
        main(["reindex", "default", "--rollback", "--prune"])
    assert ended.value.code == 2
    assert is_well(shelf)
