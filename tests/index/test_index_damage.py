"""Damage is noticed before FAISS or tantivy sees it, and a rebuild heals it."""

from __future__ import annotations

import os
import shutil

import pytest

from app.errors import IndexDamaged
from app.index.idset import IdSet
from app.index.local import LocalIndex

ALL = IdSet([(1, 10_000)], everything=True)
KINDS = {
    "pointer": "CURRENT",
    "manifest": "manifest-*.json",
    "vectors": "segments/*.faiss",
    "ids": "segments/*.ids",
    "terms": "lexical-*/*.term",
    "postings": "lexical-*/*.idx",
    "fast field": "lexical-*/*.fast",
    "norms": "lexical-*/*.fieldnorm",
    "tantivy's list": "lexical-*/meta.json",
}


def put(path, content):
    """Put other bytes under the name of a file: what is mapped already stays as it is."""
    other = path.with_name("other")
    other.write_bytes(content)
    other.replace(path)


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x10
    put(path, data)


def truncate(path):
    put(path, path.read_bytes()[: path.stat().st_size // 2])


def empty(path):
    put(path, b"")


def delete(path):
    path.unlink()


def replace_by_folder(path):
    path.unlink()
    path.mkdir()


def top_tens(index, query):
    words = ["river bridge", "港口 信号", "copper winter orchard", "number3", "花岗岩"]
    return [index.snapshot().search_dense(query(n), 10, ALL) for n in range(20)] + [
        index.snapshot().search_lexical(w, 10, ALL) for w in words
    ]


@pytest.mark.parametrize("running", [False, True], ids=["at open", "while running"])
@pytest.mark.parametrize("harm", [flip, truncate, empty, delete, replace_by_folder])
@pytest.mark.parametrize("kind", KINDS)
def test_damage_is_found_and_healed(tmp_path, entries, query, kind, harm, running):
    """Any harm to any file is noticed, by `IndexDamaged` and by `verify`, and a rebuild restores the top ten."""
    directory = tmp_path / "index"
    written = entries(1, 90)
    index = LocalIndex(directory, len(written[0].embedding))
    index.rebuild(written, 4)
    before = top_tens(index, query)
    if not running:
        index = LocalIndex(directory, len(written[0].embedding))
    harm(max(directory.glob(KINDS[kind])))
    if kind == "pointer" and harm is delete:
        assert index.checkpoint() == 0
        assert index.snapshot().search_dense(query(0), 5, ALL) == index.snapshot().search_lexical("river", 5, ALL) == []
    elif kind == "manifest" and running:
        assert top_tens(index, query) == before  # its content is in memory; the next process will notice
    else:
        with pytest.raises(IndexDamaged):
            index.snapshot().search_dense(query(0), 5, ALL)
        with pytest.raises(IndexDamaged):
            index.snapshot().search_lexical("river", 5, ALL)
        assert LocalIndex(directory, len(written[0].embedding)).verify()
    index.rebuild(written, 4)
    assert index.checkpoint() == 4
    assert top_tens(index, query) == before
    assert LocalIndex(directory, len(written[0].embedding)).verify() == []


def test_one_flipped_bit_anywhere_is_noticed(tmp_path, entries):
    """Of single flipped bits at places all over the files, none goes unnoticed."""
    directory = tmp_path / "index"
    written = entries(1, 30)
    size = len(written[0].embedding)
    LocalIndex(directory, size).rebuild(written, 4)
    files = [path for path in sorted(directory.rglob("*")) if path.is_file() and path.stat().st_size]
    for number, path in enumerate(files * 6):
        whole = path.read_bytes()
        damaged = bytearray(whole)
        damaged[number * 7919 % len(whole)] ^= 1 << number % 8
        put(path, damaged)
        problems = LocalIndex(directory, size).verify()
        put(path, whole)
        assert problems, path
    assert LocalIndex(directory, size).verify() == []


@pytest.mark.parametrize(
    "pointer",
    [b"", b"\xff\xfe", b"null", b"[]", b'{"manifest": 1}', b'{"manifest": "../x", "sha256": ""}', b"[" * 100_000],
)
def test_a_pointer_to_nowhere_is_damage(tmp_path, entries, local, pointer):
    """Whatever `CURRENT` holds, it names a manifest of ours or the index is damaged; a rebuild works on top."""
    local.rebuild(entries(1, 9), 1)
    (tmp_path / "index" / "CURRENT").write_bytes(pointer)
    with pytest.raises(IndexDamaged):
        local.checkpoint()
    with pytest.raises(IndexDamaged):
        local.publish(entries(10, 12), [], 2)
    local.rebuild(entries(1, 9), 1)
    assert local.verify() == []


def test_strange_files_are_let_alone_and_do_no_harm(tmp_path, entries, local):
    """Files that are not ours survive, and lie in nobody's way; folders in place of our files give way to a rebuild."""
    directory = tmp_path / "index"
    directory.mkdir()
    (directory / "notes.txt").write_text("mine")
    (directory / "CURRENT").mkdir()
    (directory / "write.lock").mkdir()
    (directory / "segments").write_text("not a folder")
    (directory / "manifest-99.json").write_text("{}")
    (directory / "lexical-000001-00000000").mkdir()
    with pytest.raises(IndexDamaged):
        local.snapshot().search_lexical("river", 1, ALL)
    local.rebuild(entries(1, 9), 1)
    local.publish(entries(10, 12), [], 2)
    assert local.verify() == []
    assert local.describe().generation > 99
    assert (directory / "notes.txt").read_text() == "mine"
    assert not (directory / "lexical-000001-00000000").exists()
    assert not (directory / "manifest-99.json").exists()


def test_an_index_of_another_dimension_is_to_be_rebuilt(tmp_path, entries, local):
    """A folder that holds vectors of another length is damage, not a crash."""
    local.rebuild(entries(1, 9), 1)
    with pytest.raises(IndexDamaged):
        LocalIndex(tmp_path / "index", 5).checkpoint()


def test_the_folder_can_vanish_under_a_running_index(tmp_path, entries, local):
    """A deleted index folder is an empty index, and a rebuild brings it back."""
    local.rebuild(entries(1, 9), 1)
    assert local.snapshot().search_lexical("number3", 1, ALL)
    shutil.rmtree(tmp_path / "index")
    assert local.checkpoint() == 0
    assert local.snapshot().search_lexical("number3", 1, ALL) == []
    local.rebuild(entries(1, 9), 1)
    assert local.snapshot().search_lexical("number3", 1, ALL)[0].id == 3


def test_a_fold_does_not_launder_damage(tmp_path, entries, local):
    """A segment whose bytes changed after it was verified is refused by a fold, never copied under a new checksum."""
    for number in range(3):
        local.publish(entries(3 * number + 1, 3 * number + 3), [], number + 1)
    flip(min((tmp_path / "index" / "segments").glob("*.faiss")))
    with pytest.raises(IndexDamaged):
        local.publish(entries(10, 12), [], 4)
    assert local.checkpoint() == 3


@pytest.mark.parametrize("pattern", ["*.faiss", "*.ids"])
def test_a_mapped_file_that_shrinks_is_not_touched_again(tmp_path, entries, query, local, pattern):
    """A segment truncated in place under a running index is an error, before a search reads it."""
    written = entries(1, 300)
    local.rebuild(written, 1)
    assert local.snapshot().search_dense(query(0), 5, ALL)
    os.truncate(next((tmp_path / "index" / "segments").glob(pattern)), 0)
    with pytest.raises(IndexDamaged):
        local.snapshot().search_dense(query(0), 5, ALL)
    local.rebuild(written, 2)
    assert len(local.snapshot().search_dense(query(0), 5, ALL)) == 5
