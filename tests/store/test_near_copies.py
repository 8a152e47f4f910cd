"""Documents that are nearly the same as another are found by the signatures of their texts, and told of."""

from __future__ import annotations

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, select

from app.signatures import bands, sign, similarity
from app.store.history import restore_version
from app.store.near_copies import warn_of_near_copies
from app.store.tables import bands as bands_table
from tests.store.library import NOW, Library

ENGLISH = [
    a + b + c for a in ("ba", "ko", "lu", "mi", "sta", "tre") for b in ("der", "fa", "gon", "lin") for c in "aeiyu"
]
CHINESE = [a + b for a in "天地玄黄宇宙洪荒日月盈昃辰宿列张" for b in "寒来暑往秋收冬藏闰余成岁律吕调阳"]
WORDS = {"en": ENGLISH, "zh": CHINESE}


def words(language: str, seed: int, count: int = 600) -> list[str]:
    """A text that has nothing to do with that of another seed."""
    return random.Random(seed).choices(WORDS[language], k=count)


def joined(language: str, found: list[str]) -> str:
    return (" " if language == "en" else "").join(found)


def edited(language: str, seed: int, share: float, count: int = 600) -> str:
    """The text of that seed in which so many of the words, here and there, are others."""
    chance, found = random.Random(seed + 10_000), words(language, seed, count)
    for at in chance.sample(range(count), round(share * count)):
        found[at] = chance.choice(WORDS[language])
    return joined(language, found)


def shingles(text: str) -> set[str]:
    letters = "".join(each for each in text.lower() if each.isalnum())
    return {letters[at : at + 8] for at in range(len(letters) - 7)}


def jaccard(one: str, other: str) -> float:
    a, b = shingles(one), shingles(other)
    return len(a & b) / len(a | b)


def signed(text: str) -> bytes:
    found = sign(text)
    assert found is not None
    return found


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("count", [300, 3000])
def test_the_similarity_is_estimated(language: str, count: int) -> None:
    """Over edited copies of all degrees the estimate is right on average, and within four standard errors in each."""
    errors = []
    for seed in range(10):
        for share in (0.0, 0.01, 0.03, 0.1, 0.3):
            one, other = joined(language, words(language, seed, count)), edited(language, seed, share, count)
            errors.append(similarity(signed(one), signed(other)) - jaccard(one, other))
    assert abs(sum(errors) / len(errors)) < 0.02
    assert max(map(abs, errors)) < 0.18


@pytest.mark.parametrize(("language", "changed"), [("en", 0.02), ("zh", 0.01)])
def test_how_well_copies_are_told_from_others(language: str, changed: float) -> None:
    """Of copies with one word in fifty changed, in Chinese one in a hundred, at least 95 in 100 share a band and are
    called nearly the same. Of those with one in five changed none is; of other texts 1 pair in 100 shares one."""
    originals = [signed(joined(language, words(language, seed))) for seed in range(60)]
    near = [signed(edited(language, seed, changed)) for seed in range(60)]
    far = [signed(edited(language, seed, 0.2)) for seed in range(60)]

    def share_a_band(one: bytes, other: bytes) -> bool:
        return bool(set(bands(one, "c")) & set(bands(other, "c")))

    found = [share_a_band(a, b) and similarity(a, b) >= 0.8 for a, b in zip(originals, near, strict=True)]
    assert sum(found) >= 0.95 * len(found)
    assert not any(similarity(a, b) >= 0.8 for a, b in zip(originals, far, strict=True))
    pairs = [(a, b) for at, a in enumerate(originals) for b in originals[:at]]
    assert sum(share_a_band(a, b) for a, b in pairs) <= 0.01 * len(pairs)
    assert not any(similarity(a, b) >= 0.8 for a, b in pairs)


def test_how_a_text_is_set_does_not_matter() -> None:
    """Case, spaces, line breaks and punctuation are no difference; another collection's bands are others."""
    text = joined("en", words("en", 1))
    assert sign(text) == sign(text.upper().replace(" ", ",\n\n "))
    assert not set(bands(signed(text), "one")) & set(bands(signed(text), "other"))


def test_short_texts_are_not_compared() -> None:
    """A line or two is like many others."""
    assert sign("The dome closes at noon. " * 5) is None
    assert sign("") is None


@given(st.text(max_size=400), st.integers(1, 700))
def test_any_text_is_signed(text: str, times: int) -> None:
    """Whatever its characters are, and however long it is: it is as itself, and takes no more room."""
    found = sign(text * times)
    assert found is None or (len(found) == 256 and similarity(found, signed(text * times)) == 1.0)


def ingest(library: Library, text: str, **fields: str) -> str:
    document_id = library.ingest(text, **fields)
    with library.database.write() as connection:
        warn_of_near_copies(connection, [library.read(document_id)])
    return document_id


def test_a_near_copy_is_told_of(library: Library) -> None:
    """The one that comes later names the one that is there; what is only deleted, or elsewhere, is not named."""
    first = ingest(library, joined("en", words("en", 1)), filename="first.txt")
    assert library.read(first).warnings == ()
    (warning,) = library.read(ingest(library, edited("en", 1, 0.01), filename="second.txt")).warnings
    assert re.fullmatch(rf"Nearly the same as “first.txt” \({first}\): about \d+% of their text is in both\.", warning)
    ingest(library, joined("en", words("en", 2)))
    library.delete(first)
    third = library.read(ingest(library, edited("en", 1, 0.012)))
    assert "second.txt" in third.warnings[0]


def test_of_several_at_once_the_first_is_the_original(library: Library) -> None:
    """Documents that become live together are compared in their order."""
    ids = [library.ingest(edited("zh", 7, share)) for share in (0.0, 0.005, 0.01)]
    with library.database.write() as connection:
        warn_of_near_copies(connection, [library.read(each) for each in ids])
    assert [len(library.read(each).warnings) for each in ids] == [0, 1, 1]


def test_a_document_is_no_copy_of_itself(library: Library) -> None:
    """Neither of its earlier versions; and a version that comes back is found by others again."""
    text, other = joined("en", words("en", 3)), joined("en", words("en", 4))
    document_id = ingest(library, text, external_id="a")
    for content in (edited("en", 3, 0.01), other):
        assert library.read(ingest(library, content, external_id="a")).warnings == ()
    with library.database.write() as connection:
        restore_version(connection, document_id, 1, NOW)
    job = library.claim()
    assert job is not None
    library.go_live(job)
    (warning,) = library.read(ingest(library, edited("en", 3, 0.015))).warnings
    assert document_id in warning


def test_what_is_deleted_leaves_no_bands(library: Library) -> None:
    """Eight rows a document, and they go with it."""
    document_id = ingest(library, joined("en", words("en", 5)))
    with library.database.read() as connection:
        assert connection.scalar(select(func.count()).select_from(bands_table)) == 8
    library.delete(document_id)
    with library.database.read() as connection:
        assert connection.scalar(select(func.count()).select_from(bands_table)) == 0
