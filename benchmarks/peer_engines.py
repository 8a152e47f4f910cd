"""The peers behind one interface: rows with a vector, a text, and the number of the document that they belong to.

Each keeps its texts as its users would and gives them back with a hit. What returns from `build`, `add` or `delete` is
what the engine takes for safe. Nothing of Footnote is imported here: this runs in the peers' environment.
"""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

ROWS_PER_DOCUMENT = 20
Vectors = npt.NDArray[np.float32]


class Found(NamedTuple):
    """A row that a search returned."""

    row: int
    text: str
    score: float  # of the engine's own kind


class Engine(Protocol):
    """An engine on a folder."""

    efforts: Sequence[Any]  # what a search may cost, from the least to the most
    healed: bool  # whether it found damage and mended it

    def build(self, vectors: Vectors, texts: Sequence[str]) -> None:
        """Take rows 0 … n - 1, and make every index that there will be."""

    def open(self) -> None:
        """Open what another process has built."""

    def add(self, first: int, vectors: Vectors, texts: Sequence[str]) -> None:
        """Take more rows, with numbers from `first` on."""

    def delete(self, document: int) -> None:
        """Remove the rows of a document."""

    def search(self, vector: Vectors, count: int, effort: Any) -> list[Found]:
        """The nearest rows, best first. `vector` has shape (dimension,)."""

    def close(self) -> None:
        """Leave everything on the disk."""


class FaissFlat:
    """`IndexFlatIP` and a file of texts, written anew after every change, as many a script does."""

    efforts = (None,)
    healed = False

    def __init__(self, folder: Path) -> None:
        self._faiss: Any = importlib.import_module("faiss")
        self._index_path, self._texts_path = folder / "index.faiss", folder / "texts.json"

    def build(self, vectors: Vectors, texts: Sequence[str]) -> None:
        self._index = self._faiss.IndexIDMap2(self._faiss.IndexFlatIP(vectors.shape[1]))
        self._texts: dict[str, str] = {}
        self.add(0, vectors, texts)

    def open(self) -> None:
        self._index = self._faiss.read_index(str(self._index_path))
        self._texts = json.loads(self._texts_path.read_text("utf-8"))

    def add(self, first: int, vectors: Vectors, texts: Sequence[str]) -> None:
        self._index.add_with_ids(vectors, np.arange(first, first + len(texts)))
        self._texts.update((str(first + at), text) for at, text in enumerate(texts))
        self._write()

    def delete(self, document: int) -> None:
        rows = _rows_of(document)
        self._index.remove_ids(np.array(rows))
        for row in rows:
            self._texts.pop(str(row), None)
        self._write()

    def search(self, vector: Vectors, count: int, effort: Any) -> list[Found]:
        scores, rows = self._index.search(vector[None, :], count)
        pairs = zip(rows[0].tolist(), scores[0].tolist(), strict=True)
        return [Found(row, self._texts[str(row)], score) for row, score in pairs if row >= 0]

    def close(self) -> None:
        pass

    def _write(self) -> None:
        self._faiss.write_index(self._index, str(self._index_path))
        self._texts_path.write_text(json.dumps(self._texts), "utf-8")


class LanceDb:
    """A table with an `IVF_HNSW_SQ` index, and vectors to refine its hits by."""

    efforts = ((1, 60, 5), (2, 60, 5), (4, 100, 5), (8, 200, 5), (16, 400, 5), (64, 800, 5))  # probes, ef, refine
    healed = False

    def __init__(self, folder: Path) -> None:
        self._lancedb: Any = importlib.import_module("lancedb")
        self._folder = folder

    def build(self, vectors: Vectors, texts: Sequence[str]) -> None:
        config = importlib.import_module("lancedb.index").HnswSq(distance_type="dot")
        self._table = self._lancedb.connect(self._folder).create_table("chunks", _arrow(0, vectors, texts))
        self._table.create_index("vector", config=config)

    def open(self) -> None:
        self._table = self._lancedb.connect(self._folder).open_table("chunks")

    def add(self, first: int, vectors: Vectors, texts: Sequence[str]) -> None:
        self._table.add(_arrow(first, vectors, texts))

    def delete(self, document: int) -> None:
        self._table.delete(f"document = {document}")

    def search(self, vector: Vectors, count: int, effort: Any) -> list[Found]:
        probes, ef, refine = effort
        query = self._table.search(vector).distance_type("dot").nprobes(probes).ef(ef).refine_factor(refine)
        found = query.limit(count).select(["row", "text", "_distance"]).to_list()
        return [Found(each["row"], each["text"], each["_distance"]) for each in found]

    def close(self) -> None:
        pass


class Chroma:
    """A persistent collection with its HNSW index."""

    efforts = (20, 50, 100, 200, 400, 800)
    healed = False

    def __init__(self, folder: Path) -> None:
        chromadb: Any = importlib.import_module("chromadb")
        settings = importlib.import_module("chromadb.config").Settings(anonymized_telemetry=False)
        self._client = chromadb.PersistentClient(str(folder), settings=settings)
        self._effort: Any = None

    def build(self, vectors: Vectors, texts: Sequence[str]) -> None:
        hnsw = {"space": "ip", "max_neighbors": 16, "ef_construction": 128}
        self._collection = self._client.create_collection(
            "chunks", embedding_function=None, configuration={"hnsw": hnsw}
        )
        self.add(0, vectors, texts)

    def open(self) -> None:
        self._collection = self._client.get_collection("chunks", embedding_function=None)

    def add(self, first: int, vectors: Vectors, texts: Sequence[str]) -> None:
        for part in _parts(len(texts), self._client.get_max_batch_size()):
            rows = [first + at for at in part]
            self._collection.add(
                ids=[str(row) for row in rows],
                embeddings=vectors[part.start : part.stop],
                documents=list(texts[part.start : part.stop]),
                metadatas=[{"document": row // ROWS_PER_DOCUMENT} for row in rows],
            )

    def delete(self, document: int) -> None:
        self._collection.delete(where={"document": document})

    def search(self, vector: Vectors, count: int, effort: Any) -> list[Found]:
        if effort != self._effort:
            self._collection.modify(configuration={"hnsw": {"ef_search": effort}})
            self._effort = effort
        found = self._collection.query(query_embeddings=[vector], n_results=count, include=["documents", "distances"])
        hits = zip(found["ids"][0], found["documents"][0], found["distances"][0], strict=True)
        return [Found(int(row), text, distance) for row, text, distance in hits]

    def close(self) -> None:
        pass


class Txtai:
    """Embeddings with content, on the FAISS index that it chooses by the number of rows; saved after every change."""

    efforts = (2, 4, 8, 16, 32, 64, 128, 512)
    healed = False

    def __init__(self, folder: Path) -> None:
        os.environ["ALLOW_RESOLVE_TRANSFORM"] = "True"  # our own function, by its name
        self._path = str(folder / "txtai")
        self._make: Any = importlib.import_module("txtai").Embeddings

    def build(self, vectors: Vectors, texts: Sequence[str]) -> None:
        transform = f"{__name__}.{vector_of.__name__}"
        config = {"method": "external", "transform": transform, "content": True, "faiss": {"nprobe": 8}}
        self._embeddings = self._make(config)
        self._embeddings.index(self._documents(0, vectors, texts))
        self._embeddings.save(self._path)

    def open(self) -> None:
        self._embeddings = self._make()
        self._embeddings.load(self._path)

    def add(self, first: int, vectors: Vectors, texts: Sequence[str]) -> None:
        self._embeddings.upsert(self._documents(first, vectors, texts))
        self._embeddings.save(self._path)

    def delete(self, document: int) -> None:
        self._embeddings.delete(_rows_of(document))
        self._embeddings.save(self._path)

    def search(self, vector: Vectors, count: int, effort: Any) -> list[Found]:
        self._embeddings.ann.config["faiss"] = {"nprobe": effort}
        _VECTORS["the query"] = vector
        found = self._embeddings.search("the query", count)
        return [Found(int(each["id"]), each["text"], each["score"]) for each in found]

    def close(self) -> None:
        self._embeddings.close()

    def _documents(self, first: int, vectors: Vectors, texts: Sequence[str]) -> Iterator[dict[str, Any]]:
        _VECTORS.update(zip(texts, vectors, strict=True))
        for at, text in enumerate(texts):
            yield {"id": first + at, "text": text}


class MilvusLite:
    """A collection with an HNSW index in a local database."""

    efforts = (16, 32, 64, 128, 256, 512)
    healed = False

    def __init__(self, folder: Path) -> None:
        self._pymilvus: Any = importlib.import_module("pymilvus")
        self._client = self._pymilvus.MilvusClient(str(folder / "milvus.db"))

    def build(self, vectors: Vectors, texts: Sequence[str]) -> None:
        kinds = self._pymilvus.DataType
        schema = self._client.create_schema()
        schema.add_field("row", kinds.INT64, is_primary=True)
        schema.add_field("document", kinds.INT64)
        schema.add_field("vector", kinds.FLOAT_VECTOR, dim=vectors.shape[1])
        schema.add_field("text", kinds.VARCHAR, max_length=65_535)
        index = self._client.prepare_index_params()
        parameters = {"M": 16, "efConstruction": 128}
        index.add_index("vector", index_type="HNSW", metric_type="IP", params=parameters)
        self._client.create_collection("chunks", schema=schema, index_params=index)
        self.add(0, vectors, texts)
        self._client.flush("chunks")
        self.open()

    def open(self) -> None:
        self._client.load_collection("chunks")

    def add(self, first: int, vectors: Vectors, texts: Sequence[str]) -> None:
        for part in _parts(len(texts), 1000):
            rows = [
                {
                    "row": first + at,
                    "document": (first + at) // ROWS_PER_DOCUMENT,
                    "vector": vectors[at].tolist(),
                    "text": texts[at],
                }
                for at in part
            ]
            self._client.insert("chunks", rows)

    def delete(self, document: int) -> None:
        self._client.delete("chunks", filter=f"document == {document}")

    def search(self, vector: Vectors, count: int, effort: Any) -> list[Found]:
        parameters = {"metric_type": "IP", "params": {"ef": effort}}
        found = self._client.search(
            "chunks", data=[vector.tolist()], limit=count, output_fields=["text"], search_params=parameters
        )
        return [Found(each["row"], each["entity"]["text"], each["distance"]) for each in found[0]]

    def close(self) -> None:
        self._client.close()


_VECTORS: dict[str, Vectors] = {}  # txtai asks for the vector of a text


def vector_of(texts: Sequence[str]) -> Vectors:
    """What txtai takes for the embedding model."""
    return np.stack([_VECTORS[text] for text in texts])


PEERS: dict[str, Any] = {
    "faiss": FaissFlat,
    "lancedb": LanceDb,
    "chroma": Chroma,
    "txtai": Txtai,
    "milvus-lite": MilvusLite,
}


def make_engine(name: str, folder: Path) -> Engine:
    """The engine of that name; Footnote itself only where it is installed."""
    if name == "footnote":
        module = importlib.import_module("benchmarks.peer_footnote")
        engine: Engine = module.FootnoteLibrary(folder)
        return engine
    peer: Engine = PEERS[name](folder)
    return peer


def _arrow(first: int, vectors: Vectors, texts: Sequence[str]) -> Any:
    pyarrow: Any = importlib.import_module("pyarrow")
    rows = np.arange(first, first + len(texts))
    return pyarrow.table(
        {
            "row": rows,
            "document": rows // ROWS_PER_DOCUMENT,
            "text": list(texts),
            "vector": pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(vectors.ravel()), vectors.shape[1]),
        }
    )


def _rows_of(document: int) -> list[int]:
    return list(range(document * ROWS_PER_DOCUMENT, (document + 1) * ROWS_PER_DOCUMENT))


def _parts(count: int, size: int) -> list[range]:
    return [range(at, min(at + size, count)) for at in range(0, count, size)]
