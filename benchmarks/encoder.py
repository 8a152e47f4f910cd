"""The embedding model alone, in a process of its own: what Footnote is measured against.

The child, `python -m benchmarks.encoder`, reads lists of texts as JSON lines and answers with seconds: of each text by
itself (`one_by_one`, and `as_it_comes` with the model as the library loads it), or of all in one call (`together`).
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sentence_transformers import SentenceTransformer

from app.config import Settings
from app.embedding.models import SentenceTransformerEmbedder, source_of

_ROOT = Path(__file__).resolve().parent.parent
_WARM_UP = ["A sentence before the clock runs."] * 64


class EncoderProcess:
    """The parent's end."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def one_by_one(self, texts: Sequence[str]) -> list[float]:
        """Seconds of `SentenceTransformer.encode` for each text by itself."""
        seconds: list[float] = self._ask("one_by_one", texts)
        return seconds

    def as_it_comes(self, texts: Sequence[str]) -> list[float]:
        """The same with the model as the library loads it: in float32."""
        seconds: list[float] = self._ask("as_it_comes", texts)
        return seconds

    def together(self, texts: Sequence[str]) -> float:
        """Seconds of one `SentenceTransformer.encode` of all texts."""
        seconds: list[float] = self._ask("together", texts)
        return seconds[0]

    def _ask(self, task: str, texts: Sequence[str]) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([task, list(texts)]) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


@contextmanager
def running_encoder() -> Iterator[EncoderProcess]:
    """Loaded and warm; it takes no processor time while it is not asked."""
    command = [sys.executable, "-m", "benchmarks.encoder"]
    with subprocess.Popen(command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        encoder = EncoderProcess(process)
        encoder.together(_WARM_UP)
        encoder.one_by_one(_WARM_UP)
        encoder.as_it_comes(_WARM_UP)
        try:
            yield encoder
        finally:
            process.terminate()


def main() -> None:
    """The child."""
    settings = Settings(_env_file=None)
    embedder = SentenceTransformerEmbedder(settings.embedding_model, batch_size=settings.embedding_batch_size)
    # Footnote's own model object, so that model, device and dtype are the same; from here on the bare library.
    ours: Any = embedder._model
    plain = SentenceTransformer(source_of(settings.embedding_model))
    for line in sys.stdin:
        task, texts = json.loads(line)
        model = plain if task == "as_it_comes" else ours
        seconds = []
        for part in [texts] if task == "together" else ([text] for text in texts):
            started = time.perf_counter()
            model.encode(part, show_progress_bar=False)
            seconds.append(time.perf_counter() - started)
        print(json.dumps(seconds), flush=True)


if __name__ == "__main__":
    main()
