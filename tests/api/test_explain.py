"""`POST /explain`: why a document was used, or was not."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.serving import Service, problem

DOME = "The dome closes when the wind blows at 15 m/s."


@pytest.fixture(scope="module")
def library(service: Service) -> dict[str, str]:
    """A collection in which many notes are about the dome, and few about anything else; ids by name."""
    service.create_collection("explained", candidates=10)
    service.create_collection("elsewhere")
    ids = {"dome": service.add("dome.txt", DOME, collection="explained", metadata={"year": 2020})["id"]}
    for number in range(12):
        text = f"The dome closes, the wind blows: note {number}."
        ids[f"note{number}"] = service.add(f"{number}.txt", text, collection="explained", metadata={"year": 2020})["id"]
    ids["loans"] = service.add("loans.txt", "Instruments are lent for two weeks.", collection="explained")["id"]
    ids["other"] = service.add("other.txt", DOME, collection="elsewhere")["id"]
    ids["broken"] = service.add("broken.pdf", b"%PDF-1.7 broken", collection="explained")["id"]
    return ids


def explain(service: Service, library: dict[str, str], name: str, **body: Any) -> dict[str, Any]:
    request = {"question": "When does the dome close?", "collection": "explained", "document_id": library[name]}
    response = service.http.post("/explain", json={**request, **body})
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    assert found["reason"].endswith((".", "。"))
    return found


def test_a_document_that_was_used(service: Service, library: dict[str, str]) -> None:
    """It says as which passage, and what each leg made of it; the chunk is an exact span."""
    found = explain(service, library, "dome", question="At how many m/s does the dome close?")
    assert found["used"]
    assert "number 1 of" in found["reason"]
    (chunk,) = found["chunks"]
    assert (chunk["rank"], chunk["lexical"]["rank"], chunk["dropped"]) == (1, 1, None)
    assert chunk["text"] == DOME[chunk["start"] : chunk["end"]]
    assert found["document"]["status"] == "ready"


def test_a_document_below_the_cut(service: Service, library: dict[str, str]) -> None:
    """It says how far below, with the score of the last that was used."""
    answers = [explain(service, library, f"note{number}", top_k=2) for number in range(12)]
    below = [each for each in answers if not each["used"] and each["chunks"][0]["rank"]]
    assert below
    for each in below:
        assert "candidates" in each["reason"]
        assert each["chunks"][0]["rank"] > 2
        assert each["chunks"][0]["score"] <= each["needed"]["score"]
        assert each["chunks"][0]["dropped"]


def test_a_document_that_is_no_candidate(service: Service, library: dict[str, str]) -> None:
    """Its rank is told beyond the candidates, with the words that it lacks and what it would have needed."""
    found = explain(service, library, "loans", question="When does the dome close in the wind?")
    assert not found["used"]
    assert found["missing_terms"] == ["dome", "close", "wind"]
    (chunk,) = found["chunks"]
    assert (chunk["rank"], chunk["lexical"]) == (None, {"score": None, "rank": None})
    assert chunk["dense"]["rank"] > 10
    assert chunk["dense"]["score"] < found["needed"]["dense"]
    assert "by words nowhere" in found["reason"]
    assert "wind" in found["reason"]
    assert found["searched_chunks"] == 14


def test_a_filter_that_excludes(service: Service, library: dict[str, str]) -> None:
    """The condition that the document does not meet is named, and only that."""
    found = explain(service, library, "dome", filters={"year": {"$gte": 2021}, "filename": "dome.txt"})
    assert (found["used"], found["failed_filters"]) == (False, ["year"])
    assert "year" in found["reason"]
    assert found["chunks"][0]["dense"]["rank"] is not None
    body = {"question": "dome?", "collection": "explained", "document_id": library["dome"], "filters": {"no": 1}}
    assert problem(service.http.post("/explain", json=body), 400)["code"] == "invalid_filter"


def test_a_document_that_no_question_finds(service: Service, library: dict[str, str]) -> None:
    """Another collection, a failure, a deletion: each is said."""
    assert "'elsewhere'" in explain(service, library, "other")["reason"]
    failed = explain(service, library, "broken")
    assert "failed" in failed["reason"]
    assert failed["document"]["status"] == "failed"
    gone = service.add("gone.txt", "A note that goes.", collection="explained")["id"]
    assert service.http.delete(f"/documents/{gone}").status_code == 204
    body = {"question": "dome?", "collection": "explained", "document_id": gone}
    assert problem(service.http.post("/explain", json=body), 404)["code"] == "document_not_found"
    assert problem(service.http.post("/explain", json={**body, "collection": "none"}), 404)


def test_a_question_in_chinese(service: Service, library: dict[str, str]) -> None:
    """Of a Chinese question the pairs of characters that are missing are told."""
    found = explain(service, library, "dome", question="圆顶何时关闭")
    assert {"圆顶", "关闭"} <= set(found["missing_terms"])
