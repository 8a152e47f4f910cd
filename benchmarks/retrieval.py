"""How often the right document is found, through `POST /search`: each language alone, both mixed, each leg alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.datasets import DataSet, Question, read_set
from benchmarks.results import Result, Row
from benchmarks.server import Server, running_server

_SETS = {"English": "xquad_en", "Chinese": "xquad_zh"}
_TARGETS = {"English": 0.965, "Chinese": 0.950}
_MOST_LOST_IN_A_MIX = 0.01
_DEPTH = 10
_RECIPROCAL_RANK_CONSTANT = 60  # of reciprocal rank fusion, as its authors have it (Cormack et al., SIGIR 2009)
_CALLERS = 4

Ranking = list[str]  # document ids, best first


@dataclass(frozen=True, slots=True)
class Rankings:
    """One question's answer by Footnote, and by simpler ways over the same candidates."""

    footnote: Ranking
    dense: Ranking
    lexical: Ranking
    reciprocal_rank: Ranking


def run(data: Path, *, quick: bool) -> Result:
    """XQuAD: its paragraphs are the documents."""
    sets = {language: read_set(data, name, 60 if quick else None) for language, name in _SETS.items()}
    measured: dict[str, Any] = {}
    with running_server() as server:
        for language, one in sets.items():
            ids = server.ingest(one.name, one.documents)
            measured[f"{language} alone"] = _measure(server, one.name, one, ids)
        ids = server.ingest("mixed", [document for one in sets.values() for document in one.documents])
        for language, one in sets.items():
            measured[f"{language} in a mix"] = _measure(server, "mixed", one, ids)
    return Result(_rows(measured), measured)


def _rows(measured: Mapping[str, Any]) -> list[Row]:
    rows = []
    for language, target in _TARGETS.items():
        alone = measured[f"{language} alone"]["footnote"]
        rows.append(Row(f"{language}, MRR@10", f"{alone['mrr@10']:.3f}", f"≥ {target}", alone["mrr@10"] >= target))
        rows.append(Row(f"{language}, hit@1 / 5 / 10", " / ".join(f"{alone[f'hit@{k}']:.3f}" for k in (1, 5, 10))))
        mixed, least = measured[f"{language} in a mix"]["footnote"]["mrr@10"], alone["mrr@10"] - _MOST_LOST_IN_A_MIX
        rows.append(Row(f"{language} in a mix, MRR@10", f"{mixed:.3f}", f"≥ {least:.3f}", mixed >= least))
        others = [measured[f"{language} alone"][way]["mrr@10"] for way in ("dense", "lexical", "reciprocal_rank")]
        figures = " / ".join(f"{figure:.3f}" for figure in others)
        rows.append(Row(f"{language}, MRR@10: dense / lexical / reciprocal rank fusion", figures))
    return rows


def _measure(server: Server, collection: str, asked: DataSet, ids: Mapping[str, str]) -> dict[str, dict[str, float]]:
    with ThreadPoolExecutor(_CALLERS) as callers:
        rankings = list(callers.map(lambda question: _search(server, collection, question), asked.questions))
    gold = [{ids[doc_id] for doc_id in question.doc_ids} for question in asked.questions]
    ways: dict[str, Callable[[Rankings], Ranking]] = {
        "footnote": lambda found: found.footnote,
        "dense": lambda found: found.dense,
        "lexical": lambda found: found.lexical,
        "reciprocal_rank": lambda found: found.reciprocal_rank,
    }
    return {name: _score([way(found) for found in rankings], gold) for name, way in ways.items()}


def _search(server: Server, collection: str, question: Question) -> Rankings:
    body = {"query": question.text, "collection": collection, "top_k": _DEPTH, "explain": True}
    answer = server.call("POST", "/search", json=body)
    candidates = [each for each in answer["explain"]["candidates"] if each["chunk_id"] is not None]
    dense, lexical = _leg(candidates, "dense"), _leg(candidates, "lexical")
    return Rankings(
        footnote=_documents([passage["chunk_id"] for passage in answer["passages"]]),
        dense=_documents(dense),
        lexical=_documents(lexical),
        reciprocal_rank=_documents(_reciprocal_rank_fusion(dense, lexical)),
    )


def _leg(candidates: Sequence[Mapping[str, Any]], leg: str) -> list[str]:
    found = [each for each in candidates if each[leg] is not None]
    return [each["chunk_id"] for each in sorted(found, key=lambda each: -each[leg])]


def _reciprocal_rank_fusion(*legs: Sequence[str]) -> list[str]:
    scores: dict[str, float] = {}
    for leg in legs:
        for rank, chunk_id in enumerate(leg, start=1):
            scores[chunk_id] = scores.get(chunk_id, 0.0) + 1 / (_RECIPROCAL_RANK_CONSTANT + rank)
    return sorted(scores, key=lambda chunk_id: -scores[chunk_id])


def _documents(chunk_ids: Sequence[str]) -> Ranking:
    """The documents of the first chunks, each once."""
    return list(dict.fromkeys(chunk_id.split(".")[0] for chunk_id in chunk_ids[:_DEPTH]))


def _score(rankings: Sequence[Ranking], gold: Sequence[set[str]]) -> dict[str, float]:
    """Ranks count documents among the first ten passages."""
    ranks = [
        next((rank for rank, document in enumerate(ranking, start=1) if document in right), None)
        for ranking, right in zip(rankings, gold, strict=True)
    ]
    scores = {"mrr@10": sum(1 / rank for rank in ranks if rank) / len(ranks)}
    for depth in (1, 5, 10):
        scores[f"hit@{depth}"] = sum(rank is not None and rank <= depth for rank in ranks) / len(ranks)
    return {name: round(value, 4) for name, value in scores.items()} | {"questions": len(ranks)}
