"""A model's forward pass as one graph: no Python between its operations.

A query is so short that half its time goes into Python; and each of the hundreds of operations takes Python's lock
again, for which it waits behind every other thread of a busy process. A graph takes it once.

In bfloat16, oneDNN multiplies by weights that it has first put in an order of its own: with every pass, unless the
graph holds them in that order. That is a quarter of a query's time, and little of a document's, for whose many shapes
memory would grow.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

logger = logging.getLogger(__name__)

DOCUMENT_TOKENS = 8  # to a multiple of which passes of documents are filled up: an eighth of the sizes
# Of different lengths and numbers, so that nothing that depends on them is taken for a constant.
_EXAMPLES = ("Who?", "Which of the two bridges was opened first, and who paid for it?", "水坝何时建成")
_PROBES = (_EXAMPLES[1:2], (*_EXAMPLES, "a longer one, " * 12), _EXAMPLES[:1] * 9)
_PACKED_ROWS = 128  # tokens of a pass for which the order is the best one: eight queries have about as many
# torch's own compiler multiplies by this; a tracer that meets it in Python stumbles over its empty list.
_MULTIPLY = """
def multiply(rows: Tensor, weights: Tensor, bias: Optional[Tensor]):
    nothing = torch.jit.annotate(List[Optional[number]], [])
    return torch.ops.mkldnn._linear_pointwise(rows, weights, bias, "none", nothing, "")
"""
_TOLERANCE = 0.02  # of a vector of unit length: a few roundings in bfloat16, where a wrong graph is off by much more


class TracedEncoder:
    """Encodes texts as the model does. Make one with `trace`."""

    def __init__(self, model: Any, names: Sequence[str], graph: Callable[..., Any]) -> None:
        self._model = model
        self._names = tuple(names)
        self._graph = graph

    def encode(
        self, texts: Sequence[str], prompt: str | None, *, batch_size: int, threads: int, multiple: int = 1
    ) -> npt.NDArray[np.float32]:
        """Vectors of unit length, shape (texts, dimension), each pass on so many `threads` of torch.

        The tokens of a pass are filled up to a `multiple`: oneDNN compiles, and keeps, a multiplication for each size.
        """
        import torch

        by_length = sorted(range(len(texts)), key=lambda at: -len(texts[at]))  # padding is wasted work
        parts = []
        with torch.inference_mode(), torch_threads(threads):
            for start in range(0, len(by_length), batch_size):
                batch = [texts[at] for at in by_length[start : start + batch_size]]
                features = self._model.preprocess(batch, prompt=prompt)
                values = [features[name] for name in self._names]
                parts.append(self._graph(*self._filled_up(values, multiple)).numpy())
        vectors = np.empty((len(texts), parts[0].shape[1]), dtype=np.float32)
        vectors[by_length] = np.concatenate(parts)
        return vectors

    def _filled_up(self, values: list[Any], multiple: int) -> list[Any]:
        """With tokens behind that are not attended to."""
        import torch

        if "attention_mask" not in self._names or getattr(self._model.tokenizer, "padding_side", None) != "right":
            return values
        length = values[self._names.index("attention_mask")].shape[1]
        more = min(-length % multiple, max(0, (self._model.get_max_seq_length() or length) - length))
        return [torch.nn.functional.pad(value, (0, more)) for value in values] if more else values


def trace(model: Any, *, packed: bool = False) -> TracedEncoder | None:
    """None for a model whose graph does not do the same for every shape: it is used as it is, then.

    `packed`: with the weights in oneDNN's order, or none.
    """
    import torch

    prompt = model.prompts.get("query") or None
    features = dict(model.preprocess(list(_EXAMPLES), prompt=prompt))
    names = [name for name, value in features.items() if isinstance(value, torch.Tensor)]
    if set(features) - set(names) - {"modality"}:
        return None

    class Pass(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.steps = torch.nn.ModuleList(model.children())

        def forward(self, *values: Any) -> Any:
            output = dict(zip(names, values, strict=True))
            for step in self.steps:
                output = step(output)
            return torch.nn.functional.normalize(output["sentence_embedding"].float(), dim=1)

    try:
        # Of what is constant in the graph it need not be warned: the probes tell whether that matters.
        with torch.no_grad(), warnings.catch_warnings(action="ignore"), _quiet_transformers(), _packing(model, packed):
            example = tuple(features[name] for name in names)
            graph = torch.jit.trace(Pass().eval(), example, check_trace=False)  # type: ignore[no-untyped-call]
            graph = torch.jit.freeze(graph)
        traced = TracedEncoder(model, names, graph)
        for texts in _PROBES:
            expected = model.encode_query(list(texts), normalize_embeddings=True, show_progress_bar=False)
            for multiple in (1, DOCUMENT_TOKENS):
                found = traced.encode(
                    texts, prompt, batch_size=len(texts), threads=torch.get_num_threads(), multiple=multiple
                )
                if not np.allclose(found, expected, atol=_TOLERANCE):
                    raise ValueError("the graph gives other vectors")
    except Exception as error:  # whatever a model of somebody else raises here, it still works as it is
        logger.info("the model is not traced%s: %.200s", " with packed weights" * packed, error)
        return None
    return traced


@contextmanager
def _packing(model: Any, packed: bool) -> Iterator[None]:
    """What is traced meanwhile holds the weights in oneDNN's order, where it is to be `packed`."""
    import torch

    if not packed:
        yield
        return

    multiply = torch.jit.CompilationUnit(_MULTIPLY).multiply

    class Packed(torch.nn.Module):
        def __init__(self, plain: torch.nn.Linear) -> None:
            super().__init__()
            weights = torch.ops.mkldnn._reorder_linear_weight(plain.weight.detach(), _PACKED_ROWS)
            self.register_buffer("weights", weights)
            self.register_buffer("bias", None if plain.bias is None else plain.bias.detach())

        def forward(self, rows: Any) -> Any:
            return multiply(rows, self.weights, self.bias)

    replaced = [
        (parent, name, child)
        for parent in model.modules()
        for name, child in parent.named_children()
        if type(child) is torch.nn.Linear and child.weight.dtype == torch.bfloat16
    ]
    try:
        for parent, name, child in replaced:
            setattr(parent, name, Packed(child))
        yield
    finally:
        for parent, name, child in replaced:
            setattr(parent, name, child)


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """So many for the operations of this thread; OpenMP keeps the number for each thread by itself."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    """Tracing looks at every attribute of a model, and some complain of that."""
    from transformers.utils import logging as transformers_logging

    level = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
