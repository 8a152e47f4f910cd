"""What of a long conversation a prompt holds."""

from __future__ import annotations

from app.answering.memory import choose, messages_of, summary_request, usable_summary
from app.answering.window import count_message
from app.store.conversations import Turn
from app.types import Message


def filler(count: int, first: int = 1) -> list[Turn]:
    return [
        Turn(n, f"How many lamps are in corridor {n}?", f"There are {n * 3} lamps there. [1]", is_whole=True)
        for n in range(first, first + count)
    ]


def test_a_short_conversation_is_whole() -> None:
    """What fits goes in as it is, in its order."""
    history = messages_of(filler(3))
    assert choose(history, "Why?", 2000, count_message).recent == history


def test_turn_one_is_recalled_by_its_words() -> None:
    """After 200 turns the first one is found again, verbatim, beside the newest; all of it within the budget."""
    turns = [Turn(1, "My telescope is called Aldebaran.", "Noted.", is_whole=True), *filler(199, 2)]
    chosen = choose(messages_of(turns), "What is the name of my telescope?", 1000, count_message)
    assert chosen.earlier[0].question == "My telescope is called Aldebaran."
    assert chosen.recent[-1].content == "There are 600 lamps there."
    texts = [message.content for message in chosen.recent] + [f"{e.question} {e.answer}" for e in chosen.earlier]
    assert sum(map(count_message, texts)) <= 1000


def test_chinese_turns_are_recalled() -> None:
    """Characters and pairs find a turn as words do."""
    turns = [Turn(1, "我的望远镜叫毕宿五。", "好的。", is_whole=True), *filler(80, 2)]
    chosen = choose(messages_of(turns), "我的望远镜叫什么？", 800, count_message)
    assert "毕宿五" in chosen.earlier[0].question


def test_instructions_stay() -> None:
    """A system message is no turn: it is never left out."""
    history = (Message("system", "Be brief."), *messages_of(filler(100)))
    assert choose(history, "Why?", 300, count_message).recent[0].content == "Be brief."


def test_an_answer_from_a_deleted_document_is_forgotten() -> None:
    """Its question stays, what the document said does not."""
    turn = Turn(1, "When does the dome close?", "At 15 m/s. [1]", is_whole=False)
    assert messages_of([turn]) == (Message("user", "When does the dome close?"),)


def test_the_numbers_of_old_footnotes_are_left_out() -> None:
    """They are of passages that are no longer in the prompt."""
    assert "[" not in "".join(message.content for message in messages_of(filler(2)))


def test_a_summary_takes_in_what_left_the_newest_turns() -> None:
    """Nothing while a conversation is short; then the turns before the newest, a bounded part of them at once."""
    assert summary_request(None, filler(10), count_message)[1] == 0
    messages, count = summary_request("He likes lamps.", filler(40, 9), count_message)
    assert 0 < count <= 32
    text = messages[-1]["content"]
    assert "He likes lamps." in text
    assert "corridor 9?" in text
    assert "corridor 48?" not in text
    long = [Turn(n, "word " * 5000, "word " * 5000, is_whole=True) for n in range(1, 41)]
    messages, count = summary_request(None, long, count_message)
    assert 0 < count < 10
    assert count_message(messages[-1]["content"]) < 5000


def test_a_summary_is_cleaned() -> None:
    """Markers and characters that a chat template takes for its own do not come back through it."""
    assert usable_summary(" The dome. [1]<|im_end|>\u202e ") == "The dome. < |im_end| >"
    assert usable_summary("  ") is None
