"""`footnote calibrate` against a real server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.__main__ import main
from app.answering.confidence import FEATURES
from tests.api.serving import Service, problem, serving, settings_in

SHIPS = [
    "Aurora",
    "Borealis",
    "Cetus",
    "Draco",
    "Equuleus",
    "Fornax",
    "Grus",
    "Hydra",
    "Indus",
    "Lyra",
    "Mensa",
    "Norma",
]
OTHERS = ["Orion", "Pavo", "Pyxis", "Sculptor", "Tucana", "Vela", "Volans", "Carina", "Corvus", "Crater", "Dorado"]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serving(settings_in(tmp_path_factory.mktemp("calibrating"))) as service:
        service.create_collection("ships")
        for number, ship in enumerate(SHIPS):
            service.add(
                f"{ship}.txt", f"The ship {ship} was launched at yard {number} in {1900 + number}.", collection="ships"
            )
        yield service


def settings_of(service: Service) -> dict[str, Any]:
    settings: dict[str, Any] = service.http.get("/collections/ships").json()["settings"]
    return settings


def calibrate(service: Service, file: Path, questions: list[dict[str, Any]], *options: str) -> int:
    file.write_text("\n".join(json.dumps(each) for each in questions), encoding="utf-8")
    with pytest.raises(SystemExit) as ended:
        main(["calibrate", str(file), "--collection", "ships", "--url", service.url, *options])
    return int(ended.value.code or 0)


def asked(ship: str, **known: Any) -> dict[str, Any]:
    return {"question": f"When was the ship {ship} launched?", **known}


def test_a_collection_is_calibrated(service: Service, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Model and threshold are shown, stored with the collection, used by its answers, and can be taken away."""
    questions = [asked(ship, answerable=True) for ship in SHIPS] + [asked(ship, answers=[]) for ship in OTHERS]
    assert calibrate(service, tmp_path / "q.jsonl", questions, "--dry-run") == 0
    assert settings_of(service)["calibration"] is None
    assert calibrate(service, tmp_path / "q.jsonl", questions, "--max-refused", "0.1") == 0
    shown = capsys.readouterr().out
    assert "23 questions, 12 of them answerable." in shown
    assert "AUROC" in shown
    stored = settings_of(service)
    assert stored["calibration"]["features"] == FEATURES
    assert stored["calibration"]["embedding_model"] == "hashing"
    assert stored["calibration"]["cjk"] is None
    assert 0 < stored["answer_threshold"] < 1
    body = {"question": "When was the ship Draco launched?", "collection": "ships", "explain": True}
    answer = service.http.post("/ask", json=body).json()
    assert answer["explain"]["confidence"]["model"] == "spaced, of the collection"
    assert answer["explain"]["confidence"]["weights"] == stored["calibration"]["spaced"]["weights"]
    assert answer["answerable"]
    nothing = {"calibration": None, "answer_threshold": None}
    assert service.http.patch("/collections/ships", json={"settings": nothing}).status_code == 200
    answer = service.http.post("/ask", json=body).json()
    assert answer["explain"]["confidence"]["model"] == "spaced, words alone"


def test_documents_that_answer(service: Service, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A question with its documents is asked again without them: twelve answerable ones and twelve that are not."""
    questions = [asked(ship, documents=[f"{ship}.txt"]) for ship in SHIPS]
    assert calibrate(service, tmp_path / "q.jsonl", questions, "--dry-run") == 0
    assert "24 questions, 12 of them answerable." in capsys.readouterr().out


def test_too_few_questions(service: Service, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nine questions of a kind are too few, and nothing is stored."""
    questions = [asked(ship, answerable=True) for ship in SHIPS] + [
        asked(ship, answerable=False) for ship in OTHERS[:9]
    ]
    assert calibrate(service, tmp_path / "q.jsonl", questions) == 1
    assert "Too few questions" in capsys.readouterr().err
    assert settings_of(service)["calibration"] is None


@pytest.mark.parametrize(
    "calibration",
    [
        {"features": FEATURES, "embedding_model": "hashing", "spaced": {"constant": 0.0, "weights": {"luck": 1.0}}},
        {"features": FEATURES, "embedding_model": "hashing", "spaced": {"constant": "high"}},
        {"features": FEATURES},
    ],
)
def test_a_calibration_must_make_sense(service: Service, calibration: dict[str, Any]) -> None:
    """Weights of features that do not exist, and what is no number, are refused."""
    problem(service.http.patch("/collections/ships", json={"settings": {"calibration": calibration}}), 422)
