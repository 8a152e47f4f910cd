"""Files and vector stores by the official OpenAI client, unchanged."""

from __future__ import annotations

import io
from collections.abc import Iterator

import openai
import pytest

from tests.api.serving import LIMIT_BYTES, Service

DOME = b"The dome closes at 15 m/s. The night watch begins at nine."
ROOF = b"The roof of the hangar is made of larch. It was laid in 1931."


@pytest.fixture
def client(service: Service) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{service.url}/v1", api_key="none is needed", max_retries=0) as client:
        yield client


@pytest.fixture
def store(client: openai.OpenAI, request: pytest.FixtureRequest) -> str:
    return client.vector_stores.create(name=request.node.name).id


def upload(client: openai.OpenAI, name: str, content: bytes) -> str:
    return client.files.create(file=(name, content), purpose="assistants").id


def test_a_file_comes_back_as_it_went(client: openai.OpenAI) -> None:
    """Upload, list, retrieve, content, delete; a deleted file is gone."""
    file = client.files.create(file=("dome.txt", DOME), purpose="assistants")
    assert (file.object, file.filename, file.bytes, file.purpose) == ("file", "dome.txt", len(DOME), "assistants")
    assert client.files.retrieve(file.id) == file
    assert client.files.content(file.id).content == DOME
    assert file.id in [each.id for each in client.files.list(purpose="assistants")]
    assert client.files.list(purpose="user_data").data == []
    assert client.files.delete(file.id).deleted
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(file.id)


def test_uploads_that_are_refused(client: openai.OpenAI) -> None:
    """What cannot be kept as it was asked is refused by name: purposes, expiry, empty and too large files."""
    for options, code in (
        ({"purpose": "fine-tune"}, "unsupported_parameter"),
        (
            {"purpose": "assistants", "expires_after": {"anchor": "created_at", "seconds": 3600}},
            "unsupported_parameter",
        ),
    ):
        with pytest.raises(openai.BadRequestError) as refused:
            client.files.create(file=("a.txt", DOME), **options)
        assert refused.value.code == code
    with pytest.raises(openai.BadRequestError):
        client.files.create(file=("a.txt", b""), purpose="assistants")
    with pytest.raises(openai.APIStatusError) as too_large:
        client.files.create(file=("a.txt", b"x" * (LIMIT_BYTES + 1)), purpose="assistants")
    assert too_large.value.status_code == 413


def test_upload_and_poll(client: openai.OpenAI, store: str) -> None:
    """The client's own helper uploads, attaches and waits; then the file is found, with its attributes."""
    attached = client.vector_stores.files.upload_and_poll(
        vector_store_id=store, file=("dome.txt", io.BytesIO(DOME)), attributes={"year": 2020, "open": True}
    )
    assert (attached.status, attached.last_error, attached.vector_store_id) == ("completed", None, store)
    assert attached.attributes == {"year": 2020, "open": True}
    (found, *_) = client.vector_stores.search(store, query="When does the dome close?").data
    assert (found.file_id, found.filename) == (attached.id, "dome.txt")
    assert found.content[0].text.startswith("The dome closes")
    assert found.attributes == {"year": 2020, "open": True}
    assert 0 <= found.score <= 1
    (page,) = client.vector_stores.files.content(attached.id, vector_store_id=store).data
    assert page.text == DOME.decode()
    counts = client.vector_stores.retrieve(store).file_counts
    assert (counts.completed, counts.total) == (1, 1)


def test_a_batch(client: openai.OpenAI, store: str) -> None:
    """Files are uploaded together; one that cannot be read fails alone, and says why."""
    batch = client.vector_stores.file_batches.upload_and_poll(
        store, files=[("dome.txt", DOME), ("roof.txt", ROOF), ("program.exe", b"MZ\x90\x00\x03" + bytes(200))]
    )
    assert (batch.status, batch.file_counts.completed, batch.file_counts.failed) == ("completed", 2, 1)
    (failed,) = client.vector_stores.file_batches.list_files(batch.id, vector_store_id=store, filter="failed").data
    assert failed.last_error is not None
    assert failed.last_error.code == "unsupported_file"
    assert client.vector_stores.file_batches.retrieve(batch.id, vector_store_id=store) == batch
    cancelled = client.vector_stores.file_batches.cancel(batch.id, vector_store_id=store)
    assert (cancelled.status, cancelled.file_counts.completed) == ("cancelled", 2)
    with pytest.raises(openai.NotFoundError):
        client.vector_stores.file_batches.create(store, file_ids=["file-none"])
    assert client.vector_stores.retrieve(store).file_counts.total == 3


def test_pages_of_files(client: openai.OpenAI, store: str) -> None:
    """The client walks through pages by itself, in either order; `before` goes back."""
    ids = [upload(client, f"{number}.txt", f"Number {number}.".encode()) for number in range(5)]
    for file_id in ids:
        client.vector_stores.files.create(store, file_id=file_id)
    files = client.vector_stores.files
    assert [each.id for each in files.list(store, limit=2, order="asc")] == ids
    assert [each.id for each in files.list(store, limit=2)] == ids[::-1]
    assert [each.id for each in files.list(store, order="asc", limit=2, before=ids[3]).data] == ids[1:3]
    assert files.list(store, filter="cancelled").data == []
    with pytest.raises(openai.BadRequestError):
        files.list(store, after="file-none")


def test_what_is_deleted_answers_nothing(client: openai.OpenAI, store: str) -> None:
    """Out of the store, it is not found there but kept; the file deleted, it is in no store."""
    other = client.vector_stores.create(name="the other").id
    file_id = upload(client, "dome.txt", DOME)
    for each in (store, other):
        client.vector_stores.files.create_and_poll(file_id, vector_store_id=each)
    assert client.vector_stores.files.delete(file_id, vector_store_id=store).deleted
    assert client.vector_stores.search(store, query="dome").data == []
    assert client.files.content(file_id).content == DOME
    assert [each.file_id for each in client.vector_stores.search(other, query="dome")] == [file_id]
    client.files.delete(file_id)
    assert client.vector_stores.search(other, query="dome").data == []
    assert client.vector_stores.retrieve(other).file_counts.total == 0


def test_attribute_filters(client: openai.OpenAI, store: str) -> None:
    """Every comparison and both compounds; an attribute that no file has is equal to nothing."""
    for name, attributes in (("old", {"year": 1931, "kind": "roof"}), ("new", {"year": 2020, "kind": "dome"})):
        client.vector_stores.files.create_and_poll(
            upload(client, f"{name}.txt", f"The {name} building.".encode()),
            vector_store_id=store,
            attributes=attributes,
        )

    def found(**filters: object) -> set[str]:
        page = client.vector_stores.search(store, query="building", filters=filters)
        return {each.filename.removesuffix(".txt") for each in page.data}

    assert found(type="eq", key="kind", value="roof") == {"old"}
    assert found(type="ne", key="kind", value="roof") == {"new"}
    assert found(type="gte", key="year", value=2020) == {"new"}
    assert found(type="lt", key="year", value=2020) == {"old"}
    assert found(type="in", key="year", value=[1931, 2020]) == {"old", "new"}
    assert found(type="nin", key="year", value=[1931]) == {"new"}
    newer, dome = {"type": "gt", "key": "year", "value": 1940}, {"type": "eq", "key": "kind", "value": "roof"}
    assert found(type="or", filters=[newer, dome]) == {"old", "new"}
    assert found(type="and", filters=[newer, dome]) == set()
    assert found(type="eq", key="nobody", value=1) == set()
    assert found(type="ne", key="nobody", value=1) == {"old", "new"}
    with pytest.raises(openai.BadRequestError) as refused:
        found(type="like", key="kind", value="r%")
    assert refused.value.code == "invalid_filter"


def test_changed_attributes_count_at_once(client: openai.OpenAI, store: str) -> None:
    """A filter sees new attributes as soon as they are there; without any, none are left."""
    file_id = upload(client, "dome.txt", DOME)
    client.vector_stores.files.create_and_poll(file_id, vector_store_id=store, attributes={"year": 1931})
    changed = client.vector_stores.files.update(file_id, vector_store_id=store, attributes={"year": 2020})
    assert changed.attributes == {"year": 2020}
    newer = {"type": "gte", "key": "year", "value": 2000}
    assert len(client.vector_stores.search(store, query="dome", filters=newer).data) == 1
    assert client.vector_stores.files.update(file_id, vector_store_id=store, attributes=None).attributes == {}
    assert client.vector_stores.search(store, query="dome", filters=newer).data == []


def test_a_search_has_its_limits(client: openai.OpenAI, store: str) -> None:
    """Several queries find each passage once; a number and a threshold of the score bound what comes back."""
    client.vector_stores.file_batches.upload_and_poll(store, files=[("dome.txt", DOME), ("roof.txt", ROOF)])
    both = client.vector_stores.search(store, query=["dome", "roof of the hangar"], rewrite_query=True).data
    assert {each.filename for each in both} == {"dome.txt", "roof.txt"}
    assert len(both) == 2
    assert len(client.vector_stores.search(store, query="dome", max_num_results=1).data) == 1
    best = client.vector_stores.search(store, query="dome", ranking_options={"score_threshold": 0.9}).data
    assert [each.filename for each in best] == ["dome.txt"]
    with pytest.raises(openai.BadRequestError):
        client.vector_stores.search(store, query=" ")


def test_chunks_of_a_size(client: openai.OpenAI, store: str, service: Service) -> None:
    """A static strategy decides how this file is cut; the others keep the collection's."""
    text = " ".join(f"Sentence number {number} tells of nothing." for number in range(200)).encode()
    sizes = {"max_chunk_size_tokens": 100, "chunk_overlap_tokens": 0}
    small = client.vector_stores.files.upload_and_poll(
        vector_store_id=store, file=("small.txt", text), chunking_strategy={"type": "static", "static": sizes}
    )
    usual = client.vector_stores.files.upload_and_poll(vector_store_id=store, file=("usual.txt", text + b"."))
    assert small.chunking_strategy is not None
    assert small.chunking_strategy.to_dict() == {"type": "static", "static": sizes}
    assert usual.chunking_strategy is not None
    name = client.vector_stores.retrieve(store).model_extra["collection"]
    documents = service.http.get("/documents", params={"collection": name}).json()["documents"]
    chunks = {each["filename"]: each["chunks"] for each in documents}
    assert chunks["small.txt"] > chunks["usual.txt"] > 1
    with pytest.raises(openai.UnprocessableEntityError):
        client.vector_stores.files.create(
            store,
            file_id=small.id,
            chunking_strategy={"type": "static", "static": {**sizes, "chunk_overlap_tokens": 60}},
        )


def test_a_store_is_a_collection(client: openai.OpenAI, service: Service) -> None:
    """What is uploaded on either side is seen on both; names for display may be any, and the same twice."""
    store = client.vector_stores.create(name="shared", metadata={"team": "dome"}, description="Of the dome")
    twin = client.vector_stores.create(name="shared")
    assert store.id != twin.id
    assert store.model_extra["collection"] == "shared"
    assert twin.model_extra["collection"] == twin.id
    document = service.add("roof.txt", ROOF, collection="shared")
    (listed,) = client.vector_stores.files.list(store.id).data
    assert (listed.id, listed.status) == (document["id"], "completed")
    assert client.files.content(document["id"]).content == ROOF
    file_id = upload(client, "dome.txt", DOME)
    client.vector_stores.files.create_and_poll(file_id, vector_store_id=store.id)
    assert "dome.txt" in [passage["filename"] for passage in service.search("dome", collection="shared")]
    renamed = client.vector_stores.update(store.id, name="Shared papers", metadata={"team": "roof"})
    assert (renamed.name, renamed.metadata) == ("Shared papers", {"team": "roof"})
    assert store.id in [each.id for each in client.vector_stores.list(limit=2)]
    client.files.delete(document["id"])
    assert service.http.get(f"/documents/{document['id']}").status_code == 404
    assert client.vector_stores.delete(store.id).deleted
    with pytest.raises(openai.NotFoundError):
        client.vector_stores.retrieve(store.id)
    assert client.files.content(file_id).content == DOME
    with pytest.raises(openai.BadRequestError, match="expires"):
        client.vector_stores.create(expires_after={"anchor": "last_active_at", "days": 1})


def test_the_default_collection_stays(client: openai.OpenAI) -> None:
    """It is a vector store like any other, but cannot be deleted."""
    (default,) = (each for each in client.vector_stores.list() if each.name == "default")
    with pytest.raises(openai.ConflictError):
        client.vector_stores.delete(default.id)
