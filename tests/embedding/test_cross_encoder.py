"""The cross-encoder by its path: a tiny random one, made here."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.embedding.cross_encoder import CrossEncoderScorer
from app.errors import ConfigurationError

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "dome", "closes", "at", "night", "watch", "##s", "."]


def save_cross_encoder(folder: Path, labels: int = 1) -> Path:
    """A random BERT of one small layer with so many scores a pair."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

    torch.manual_seed(0)
    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join(WORDS), encoding="utf-8")
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    config = BertConfig(
        vocab_size=len(WORDS), max_position_embeddings=64, num_labels=labels, initializer_range=1.0, **shape
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    return folder


def test_pairs_are_scored(tmp_path: Path) -> None:
    """A score from 0 to 1 for each text, that depends on query and text, and not on its neighbours in the batch."""
    scorer = CrossEncoderScorer(str(save_cross_encoder(tmp_path / "model")), device="cpu")
    texts = ["the dome closes at night.", "the watch", "night " * 500]
    scores = scorer.score("the dome", texts)
    assert all(0 <= score <= 1 for score in scores)
    assert len(set(scores)) == 3
    assert scorer.score("the dome", texts[:1]) == pytest.approx(scores[:1], abs=0.01)
    assert scorer.score("watch at night", texts) != scores
    assert scorer.score("the dome", []) == []


def test_a_classifier_is_refused(tmp_path: Path) -> None:
    """A model with several scores a pair is no judge of relevance; one that is not there says its name."""
    with pytest.raises(ConfigurationError, match="3 scores"):
        CrossEncoderScorer(str(save_cross_encoder(tmp_path / "model", labels=3)), device="cpu")
    with pytest.raises(ConfigurationError, match="nowhere"):
        CrossEncoderScorer(str(tmp_path / "nowhere"), device="cpu")
