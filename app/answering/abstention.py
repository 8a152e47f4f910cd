"""Saying that the documents do not answer, and recognising a language model that says so.

The sentence is English or Chinese: Chinese for a question in Chinese, English for one in any other language.
"""

from __future__ import annotations

import re

from app.answering.citations import MARKER, CitedSentence
from app.answering.terms import is_chinese

_ENGLISH = "Your documents do not say."
_CHINESE = "您的文档中没有提到。"

_SORRY = r"(?:(?:i['’]m |i am )?(?:very )?(?:sorry|afraid)|unfortunately|apologies|i apologi[sz]e)"
_SOURCE = r"(?:passage|document|text|source|excerpt|context|material|article|snippet)s?"
_THE_SOURCES = rf"(?:the|these|those|this|your|any|all|both|given|provided|available|above)\s(?:\w+\s){{0,2}}{_SOURCE}"
_SAY = (
    r"(?:say|mention|state|contain|provide|include|specify|answer|discuss|address|give|tell|indicate|cover|describe"
    r"|explain|offer|reveal|disclose|list)s?"
)
_SAID = (
    r"(?:mentioned|stated|found|answered|specified|provided|described|discussed|covered|disclosed|addressed|available"
    r"|given|included|contained|part of)"
)
_KNOW = r"(?:find|answer|determine|locate|tell|say|know|identify|see|infer|conclude)"
_CANNOT = r"(?:cannot|can not|can['’]t|could not|couldn['’]t|do not|don['’]t|did not|didn['’]t|unable to|not able to)"
_NO_DETAILS = (
    r"(?:no|not any|not enough|insufficient) (?:(?:relevant|specific|such|further|direct|clear) )?"
    r"(?:information|mention|answer|details?|data|evidence|indication|reference)"
)
_IN_ENGLISH = (
    rf"{_SOURCE}\b[^.]{{0,40}}\b(?:do(?:es)? not|don['’]t|doesn['’]t|did not|didn['’]t|never)\s+"
    rf"(?:(?!not)\w+\s+){{0,2}}{_SAY}\b",
    rf"\b(?:none|neither) of {_THE_SOURCES}\b[^.]{{0,20}}\b{_SAY}\b",
    rf"\bnothing in {_THE_SOURCES}\b",
    rf"{_SOURCE} (?:is|are) silent\b",
    rf"\b{_NO_DETAILS}\b[^.]{{0,80}}\b{_SOURCE}\b",
    rf"{_SOURCE}\b[^.]{{0,30}}\b{_NO_DETAILS}\b",
    rf"\b(?:not|n['’]t|never|nowhere)\b[^.]{{0,20}}\b{_SAID}\b[^.]{{0,20}}\b{_THE_SOURCES}\b",
    rf"\b(?:is|are|was|were)(?: not|n['’]t) in {_THE_SOURCES}\b",
    rf"\b{_CANNOT}\b[^.]{{0,20}}\b{_KNOW}(?:e?d)?\b[^.]{{0,80}}\b{_SOURCE}\b",
    # Without a word for the passages, only what a model says of itself or of the question.
    rf"^(?:{_SORRY},? (?:but |that )?)?i(?: am|['’]m)? {_CANNOT} "
    r"(?:find|answer|determine|locate|know|have (?:any |enough )?information|have the answer)\b",
    rf"^(?:{_SORRY},? (?:but )?)?(?:there (?:is|was) |i (?:have|found|see) )?{_NO_DETAILS} "
    r"(?:(?:is|was|are|were) )?(?:about|on|regarding|available|found|provided|given)\b",
    r"^(?:the|this|your) (?:question|answer) (?:cannot|can['’]t|could not) be (?:answered|determined|found)\b",
    r"^(?:it is )?(?:not (?:mentioned|stated|specified|found|answered|answerable|available|given)|unanswerable|unknown"
    r"|n/?a|no answer|not enough information|insufficient information)\W*$",
)

_SORRY_IN_CHINESE = r"(?:很?抱歉|对不起|對不起|不好意思|(?:很?遗憾|很?遺憾)(?:的是)?)"
_SOURCE_IN_CHINESE = r"(?:文档|文件|资料|段落|文本|材料|上下文|文中|原文|文章|内容|片段|文檔|檔案|資料|內容)"
_NOT = r"(?:没有|并未|均未|都没|并没有|未能|不包含|不包括|未|无|沒有|並未|都沒|並沒有|無)"
_CANNOT_IN_CHINESE = r"(?:无法|無法|不能|难以|難以|不足以|没能|沒能|未能)"
_SAY_IN_CHINESE = (
    r"(?:提到|提及|提供|说明|說明|说到|談到|谈到|包含|给出|給出|涉及|找到|记载|記載|描述|讨论|討論|指出|回答|答案"
    r"|介绍|介紹)"
)
_KNOW_IN_CHINESE = r"(?:得知|得出|确定|確定|找到|回答|判断|判斷|看出|了解|知道|推断|推斷|获取|獲取|获知|獲知|提供)"
_DETAILS_IN_CHINESE = r"(?:信息|资讯|資訊|内容|內容|答案|资料|資料|线索|線索|记载|記載)"
_IN_CHINESE = (
    rf"{_SOURCE_IN_CHINESE}[^。，,]{{0,15}}{_NOT}[^。，,]{{0,8}}{_SAY_IN_CHINESE}",
    rf"{_SOURCE_IN_CHINESE}[^。，,]{{0,15}}{_NOT}[^。，,]{{0,30}}(?:信息|资讯|資訊|相关内容|相關內容|线索|線索)",
    rf"{_CANNOT_IN_CHINESE}(?:直接)?(?:从|從|根据|根據|在|由|通过|透過)[^。]{{0,20}}{_SOURCE_IN_CHINESE}[^。]{{0,12}}"
    rf"{_KNOW_IN_CHINESE}",
    rf"{_SOURCE_IN_CHINESE}[^。]{{0,12}}{_CANNOT_IN_CHINESE}[^。]{{0,6}}{_KNOW_IN_CHINESE}",
    rf"^{_SORRY_IN_CHINESE}?[，,]?\s*我?(?:{_CANNOT_IN_CHINESE}{_KNOW_IN_CHINESE}|不知道|不清楚|不确定|不確定)",
    rf"^{_SORRY_IN_CHINESE}?[，,]?\s*我?{_NOT}找到[^。]{{0,30}}{_DETAILS_IN_CHINESE}",
    rf"^(?:没有|沒有|暂无|暫無|无|無|缺乏)(?:足够的?|足夠的?|相关的?|相關的?)*{_DETAILS_IN_CHINESE}",
    rf"^(?:该|該|这个|這個|此)?(?:问题|問題){_CANNOT_IN_CHINESE}{_KNOW_IN_CHINESE}",
    r"^(?:未提及|未提到|未知|未说明|未說明|无答案|無答案|无法回答|無法回答|信息不足|資訊不足)\W*$",
)
_ABSTENTION = re.compile("|".join(f"(?:{each})" for each in (*_IN_ENGLISH, *_IN_CHINESE)), re.IGNORECASE)

_APOLOGY = re.compile(rf"^\W*(?:{_SORRY}|{_SORRY_IN_CHINESE})\W*$", re.IGNORECASE)
_SORRY_BUT = re.compile(rf"^\W*(?:{_SORRY}|{_SORRY_IN_CHINESE})[^.]{{0,4}}?(?:\bbut\b|但)", re.IGNORECASE)
_BUT = re.compile(r"\b(?:but|however|although|though|except|only)\b|但|不过|不過|然而|只是|除了", re.IGNORECASE)


def abstention(question: str, language: str | None = None) -> str:
    """The one sentence that says so, in the question's language, or in the one of that tag."""
    chinese = is_chinese(question) if language is None else language.lower().startswith("zh")
    return _CHINESE if chinese else _ENGLISH


def is_abstention(sentence: str) -> bool:
    """Whether a sentence says that the passages do not answer, and nothing else."""
    text = _SORRY_BUT.sub("", MARKER.sub("", sentence)).strip(" \t\n*_\"'“”")
    return bool(_ABSTENTION.search(text)) and not _BUT.search(text)


def abstains(answer: str, sentences: list[CitedSentence]) -> bool:
    """Whether an answer as a whole says so: its first sentence behind an apology does, and no later one cites."""
    texts = [answer[each.start : each.end] for each in sentences]
    first = next((place for place, text in enumerate(texts) if not _APOLOGY.match(MARKER.sub("", text))), None)
    if first is None:
        return False
    return is_abstention(texts[first]) and not any(later.markers for later in sentences[first + 1 :])
