"""Encrypted PDFs over HTTP: the password opens them, and is never seen again."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from app.store.database import open_database
from app.store.tables import jobs
from tests.api.serving import Service, problem
from tests.ingest.sample_files import pdf

SECRET = "a green lantern"


def locked(text: str) -> bytes:
    return pdf([[text]], password=SECRET)


def is_told_nowhere(answer: httpx.Response | dict[str, Any]) -> bool:
    return SECRET not in (answer.text if isinstance(answer, httpx.Response) else json.dumps(answer))


def kept(service: Service) -> set[str | None]:
    with open_database(service.settings) as database, database.read() as connection:
        return set(connection.scalars(select(jobs.c.password)))


def test_a_password_opens_a_file(service: Service, collection: str) -> None:
    """It is read and found, and no answer has the password; nor does the database, once it is read."""
    answer = service.upload(
        ("a.pdf", locked("The dome closes at noon.")), collection=collection, password=SECRET, metadata='{"a": 1}'
    )
    document_id = answer.json()["documents"][0]["id"]
    ready = service.finished(document_id)
    assert (ready["status"], ready["metadata"]) == ("ready", {"a": 1})
    assert [each["text"] for each in service.search("dome", collection=collection)] == ["The dome closes at noon."]
    assert is_told_nowhere(answer)
    assert is_told_nowhere(ready)
    assert is_told_nowhere(service.http.get(f"/documents/{document_id}/versions"))
    assert kept(service) == {None}


def test_a_wrong_password_says_so(service: Service, collection: str) -> None:
    """None, a wrong one, and then the right one with `/retry`, with an upload of the same bytes, or with PUT."""
    for number, text in enumerate(("One is dark.", "Two are dark.", "Three are dark.")):
        file = locked(text)
        failed = service.add("a.pdf", file, collection=collection)
        assert failed["error"]["code"] == "password_protected"
        assert "send it again with its password" in failed["error"]["message"]
        path = f"/documents/{failed['id']}"
        assert service.http.post(f"{path}/retry", json={"password": "a guess"}).status_code == 202
        assert "is wrong" in service.finished(failed["id"])["error"]["message"]
        if number == 0:
            assert service.http.post(f"{path}/retry", json={"password": SECRET}).status_code == 202
        elif number == 1:
            assert service.upload(("a.pdf", file), collection=collection, password=SECRET).status_code == 200
        else:
            other = locked("Three are bright.")
            answer = service.http.put(path, files={"file": ("a.pdf", other)}, data={"password": SECRET})
            assert answer.status_code == 202
        assert service.finished(failed["id"])["status"] == "ready"
    assert kept(service) == {None}


def test_a_preview_of_an_encrypted_file(service: Service) -> None:
    """It takes the password, too."""
    answer = service.http.post("/chunks/preview", files={"file": ("a.pdf", locked("Dark."))}, data={"password": SECRET})
    assert [chunk["text"] for chunk in answer.json()["chunks"]] == ["Dark."]
    assert is_told_nowhere(answer)


@pytest.mark.parametrize("length", [256, 5000])
def test_a_password_of_a_reasonable_length(service: Service, length: int) -> None:
    """One that is too long is refused, and not repeated in the refusal."""
    long = "x" * length
    answer = service.upload(("a.pdf", locked("Dark.")), password=long)
    assert problem(answer, 400)["param"] == "password"
    assert long not in answer.text
    document = service.add("blank.txt", " " * length)
    answer = service.http.post(f"/documents/{document['id']}/retry", json={"password": long})
    assert problem(answer, 422)["param"] == "password"
    assert long not in answer.text
    answer = service.http.post("/documents", json={"url": "https://example.org/a.pdf", "password": long})
    assert problem(answer, 422)["param"] == "password"
    assert long not in answer.text
