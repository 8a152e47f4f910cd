"""Text in which a client's Markdown finds nothing to load and nothing to link, whatever a model or a document wrote.

An image's address can carry off what the model has read, and a client that shows Markdown asks for it unasked. So what
makes links, images and HTML is broken up before anybody sees it, also within code: where code ends is a matter of each
client's dialect. `]` and `(` are parted by a backslash, as are `]` and the colon of a definition: a space would do for
CommonMark, but Showdown and PHP Markdown allow one there. `<` and what makes it a tag are parted by a space: HTML knows
no backslash.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right

_BLANK = " \t"
_NOTABLE = re.compile(r"[\[\]<\\]|[^\S \t]")  # of anything else, only what comes last can matter


class InertText:
    """Takes text piece by piece and gives it out at once, with a character put in where it must be.

    However the text was cut, what is given out is the same.
    """

    def __init__(self) -> None:
        self.taken = 0  # characters
        self._inserted: list[int] = []  # before which of the characters that were taken
        self._last = self._last_but_one = " "  # that can be seen
        self._after_bracket = False  # after "]", but for blanks
        self._is_inline = False  # a "[" of this line stands in the midst of words: no definition ends in this line
        self._is_escaped = False  # by a backslash
        self._may_be_address = False  # as in "<a@b.c>"

    def add(self, piece: str) -> str:
        """The next piece, as it may be shown."""
        parts = []
        at = 0
        while at < len(piece):
            if not (self._after_bracket or self._may_be_address or self._is_escaped):
                notable = _NOTABLE.search(piece, at)
                end = notable.start() if notable else len(piece)
                if plain := piece[at:end]:
                    parts.append(plain)
                    self._pass_over(plain)
                    at = end
                    continue
            parts.append(self._take(piece[at]))
            at += 1
        return "".join(parts)

    def place(self, position: int) -> int:
        """Where a character of what was taken stands in what was given out."""
        return position + bisect_right(self._inserted, position)

    def _pass_over(self, plain: str) -> None:
        end = f"{self._last_but_one}{self._last}{plain}"
        self._last_but_one, self._last = end[-2], end[-1]
        self.taken += len(plain)

    def _take(self, character: str) -> str:
        guard = ""
        if not _is_hidden(character):  # who drops hidden characters must not bring together what was parted
            guard = self._guard(character)
            if guard:
                self._inserted.append(self.taken)
            self._read(character, is_parted=bool(guard))
        self.taken += 1
        return guard + character

    def _guard(self, character: str) -> str:
        """What has to stand before the next character."""
        if self._last == "<":
            return " " if character in "/!?" or (character.isascii() and character.isalpha()) else ""
        if self._after_bracket and (character == "(" or (character == ":" and not self._is_inline)):
            return "\\"
        return "\\" if character == "@" and self._may_be_address else ""

    def _read(self, character: str, *, is_parted: bool) -> None:
        if character == "[" and not self._is_escaped:
            # As in `list[str]:` and "according to [2]:". A definition's stands where a line begins, and holds no other.
            before = self._last_but_one if self._last == " " else self._last
            self._is_inline = self._is_inline or before.isalnum()
        elif character.isspace() and character not in _BLANK:
            self._is_inline = False
        self._after_bracket = character == "]" or (self._after_bracket and character in _BLANK)
        is_address_over = character.isspace() or character == ">" or is_parted
        self._may_be_address = character == "<" or (self._may_be_address and not is_address_over)
        self._is_escaped = character == "\\" and not self._is_escaped
        self._last_but_one, self._last = self._last, character


def _is_hidden(character: str) -> bool:
    """Controls and format characters, such as a zero-width space."""
    return unicodedata.category(character) in ("Cc", "Cf") and character not in "\t\n\v\f\r"
