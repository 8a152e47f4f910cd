"""A language model's own "not in the passages", and what only sounds like it."""

from __future__ import annotations

import pytest

from app.answering.abstention import abstains, abstention, is_abstention
from app.answering.citations import cited_sentences

ABSTENTIONS = [
    "Your documents do not say.",
    "The passages do not mention when the bridge was painted. [2]",
    "The provided context doesn't contain enough information to answer this question.",
    "None of the passages mentions a painter.",
    "Neither of the documents gives a date.",
    "Nothing in the passages says who painted it.",
    "There is no information about this in the provided documents.",
    "The text provides no information on the colour.",
    "There is not enough information in the passages to answer.",
    "The colour is not mentioned in the passages.",
    "The answer is not in the given passages.",
    "It cannot be determined from the passages.",
    "I cannot find the answer in the given context.",
    "I don't know.",
    "I'm sorry, but I couldn't find any information on that.",
    "I do not have enough information to answer that.",
    "No information is available on this.",
    "The question cannot be answered.",
    "Not mentioned.",
    "**Unanswerable**",
    "您的文档中没有提到。",
    "根据提供的资料，文中并未说明大桥的颜色。[1]",
    "无法根据提供的段落回答这个问题。",
    "无法从文档中得知大桥的颜色。",
    "提供的段落里没有关于乌龟寿命的信息。",
    "上述段落均未涉及该问题。",
    "根据现有资料无法确定大桥的颜色。",
    "抱歉，我没有找到相关信息。",
    "很抱歉，我无法回答这个问题。",
    "我不知道。",
    "没有足够的信息。",
    "該問題無法回答。",
    "文件中並未提及橋的顏色。",
    "未提及。",
]
CLAIMS = [
    "The ship did not dock in 1932. [2]",
    "Screws are not included in the price. [1]",
    "Do not store food in the document room. [1]",
    "There is no fee for borrowing. [1]",
    "The warranty does not include batteries. [1]",
    "The contract does not give the tenant a right to sublet. [1]",
    "The document must be signed in ink. [1]",
    "You cannot enter without a badge. [1]",
    "The station has no answering machine. [2]",
    "The report does not give a date, but the bridge opened in 1932. [2]",
    "The bridge's painter is unknown. [1]",
    "I know that the bridge opened in 1932. [2]",
    "大桥没有在1931年通车。[2]",
    "资料室内不能饮食。[1]",
    "不能在资料室中使用明火。[1]",
    "借阅无需费用。[1]",
    "报告没有给出日期，但大桥于1932年通车。[2]",
]


@pytest.mark.parametrize("text", ABSTENTIONS)
def test_a_no_is_recognised(text: str) -> None:
    """What models say when the passages do not answer is recognised, with and without a word for the passages."""
    assert is_abstention(text)
    assert abstains(text, cited_sentences(text))


@pytest.mark.parametrize("text", CLAIMS)
def test_a_denial_is_a_claim(text: str) -> None:
    """A sentence that denies something about the world is an answer, to be checked like any other."""
    assert not is_abstention(text)


@pytest.mark.parametrize(
    ("text", "says_no"),
    [
        ("I'm sorry. The passages do not mention it.", True),
        ("很抱歉。文档中没有提到。", True),
        ("The passages do not mention it. Ask the station.", True),
        ("Sorry.", False),
        ("The passages do not mention the painter. The bridge opened in 1932. [2]", False),
        ("The bridge opened in 1932. [2] The passages do not mention who built it.", False),
        ("", False),
    ],
)
def test_the_answer_as_a_whole(text: str, says_no: bool) -> None:
    """The first sentence behind an apology decides, unless a later one says something with a citation."""
    assert abstains(text, cited_sentences(text)) is says_no


@pytest.mark.parametrize(
    ("question", "chinese"),
    [("谁画了它？", True), ("誰畫了它？", True), ("Qui l'a peint ?", False), ("誰が描きましたか", False), ("?", False)],
)
def test_the_sentence_is_english_or_chinese(question: str, chinese: bool) -> None:
    """A question in Chinese is refused in Chinese, one in any other language in English."""
    assert (abstention(question) == "您的文档中没有提到。") is chinese
    assert is_abstention(abstention(question))
