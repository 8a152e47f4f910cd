"""Saying that the documents do not answer, and recognising a language model that says so."""

from __future__ import annotations

import re

from app.answering.citations import MARKER, CitedSentence
from app.answering.terms import is_chinese

_ENGLISH = "Your documents do not say."
_CHINESE = "您的文档中没有提到。"
_SOURCES = r"(?:passages?|documents?|texts?|sources?|excerpts?|context|materials?)"
_ABSTENTION = re.compile(
    rf"{_SOURCES}[^.]{{0,40}}\b(?:do(?:es)? not|don['’]t|doesn['’]t)\s+(?:\w+\s+)?"
    r"(?:say|mention|state|contain|provide|include|specify|answer|discuss|address|give|tell|indicate|cover)"
    rf"|\bno (?:relevant |specific )?(?:information|mention|answer|details?)\b[^.]{{0,60}}\b{_SOURCES}"
    rf"|\b(?:not|n['’]t|never)\b[^.]{{0,30}}\b(?:mentioned|stated|found|answered|specified|given|included|in)\b"
    rf"[^.]{{0,20}}\b{_SOURCES}"
    rf"|\b(?:cannot|can['’]t|could not|couldn['’]t|unable to)\b[^.]{{0,20}}\b(?:find|answer|determine)\b"
    rf"[^.]{{0,80}}{_SOURCES}"
    r"|(?:文档|文件|资料|段落|文本|材料|上下文|文中|原文|文章|內容|内容|文檔|資料)[^。，]{0,15}(?:没有|并未|未|无|沒有|並未)[^。，]{0,8}"
    r"(?:提到|提及|提供|说明|說明|包含|给出|給出|涉及|找到|记载|記載|信息|相关|相關|回答|答案)"
    r"|(?:无法|無法|不能)(?:从|從|根据|根據|在)[^。]{0,20}(?:文档|文件|资料|段落|文本|材料|上下文|原文|内容|文檔|資料|內容)",
    re.IGNORECASE,
)

_BUT = re.compile(r"\b(?:but|however|although|though)\b|但|不过|不過|然而", re.IGNORECASE)


def abstention(question: str, language: str | None = None) -> str:
    """The one sentence that says so, in the question's language, or in the one of that tag."""
    chinese = is_chinese(question) if language is None else language.lower().startswith("zh")
    return _CHINESE if chinese else _ENGLISH


def is_abstention(sentence: str) -> bool:
    """Whether a sentence says that the passages do not answer, and nothing else."""
    text = MARKER.sub("", sentence)
    return bool(_ABSTENTION.search(text)) and not _BUT.search(text)


def abstains(answer: str, sentences: list[CitedSentence]) -> bool:
    """Whether an answer as a whole says so: its first sentence does, and no other one cites anything."""
    if not sentences:
        return False
    first = sentences[0]
    return is_abstention(answer[first.start : first.end]) and not any(later.markers for later in sentences[1:])
