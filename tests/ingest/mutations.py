"""Small changes of a valid file that get past a parser's first checks: inside of archives, in numbers, by repeating."""

from __future__ import annotations

import io
import re
import zipfile
from dataclasses import dataclass

from hypothesis import strategies as st

_LARGEST_BYTES = 400_000
_NUMBER = re.compile(rb"\d+")
_NUMBERS = [b"0", b"-1", b"1", b"65536", b"2147483648", b"99999999999999999999", b"1e308", b"0.5"]
# Of the formats' own syntax: a few are enough, since pieces of the file itself are copied around, too.
_TOKENS = b"< > /> ]]> <![CDATA[ <!-- --> <?xml &#x110000; &#0; &lt; \" ' % endobj endstream xref trailer << >> \
/Kids /Parent R ``` --- # | [ ]( \\ { } [[ , ; = *** ___ ~~~".split()
_TOKENS += [b"\x00", b"\xff", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\xff\xfe", b"\r", b"\n\n", b"\t", b"\nstream\n"]
_TOKENS += [b" " * 50, b"(" * 50, b"*" * 50, b"`" * 50, b"> " * 50, b"[" * 50]


@dataclass(frozen=True)
class Change:
    """One change at a place; places and lengths are taken modulo what there is."""

    kind: str
    at: int
    length: int = 0
    to: int = 0
    data: bytes = b""

    def apply(self, content: bytes) -> bytes:
        at = self.at % (len(content) + 1)
        run = content[at : at + self.length]
        to = self.to % (len(content) + 1)
        match self.kind:
            case "overwrite":
                return content[:at] + self.data + content[at + len(self.data) :]
            case "insert":
                return content[:at] + self.data + content[at:]
            case "delete":
                return content[:at] + content[at + self.length :]
            case "cut":
                return content[:at]
            case "copy":
                return content[:to] + run + content[to:]
            case "repeat":
                return content[:at] + run * min(self.to, _LARGEST_BYTES // (len(run) + 1)) + content[at:]
            case _:  # a number
                number = _NUMBER.search(content, at)
                return content if number is None else content[: number.start()] + self.data + content[number.end() :]


_PLACES = st.integers(0, 1 << 16)
_LENGTHS = st.integers(1, 200)
_CHANGES = st.one_of(
    st.builds(Change, st.just("overwrite"), _PLACES, data=st.binary(min_size=1, max_size=4)),
    st.builds(Change, st.just("insert"), _PLACES, data=st.sampled_from(_TOKENS)),
    st.builds(Change, st.just("number"), _PLACES, data=st.sampled_from(_NUMBERS)),
    st.builds(Change, st.just("delete"), _PLACES, _LENGTHS),
    st.builds(Change, st.just("cut"), _PLACES),
    st.builds(Change, st.just("copy"), _PLACES, _LENGTHS, _PLACES),
    st.builds(Change, st.just("repeat"), _PLACES, _LENGTHS, st.sampled_from([2, 20, 200, 20_000])),
)

# Which part of an archive (0: the archive itself), and what is done to it.
CHANGES = st.lists(st.tuples(st.integers(0, 30), _CHANGES), min_size=1, max_size=8)


def changed(content: bytes, changes: list[tuple[int, Change]]) -> bytes:
    """The file after all changes; those inside of an archive are packed again, with right checksums."""
    parts = _unpacked(content)
    for which, change in changes:
        if not parts or which == 0:
            continue
        name = list(parts)[which % len(parts)]
        parts[name] = change.apply(parts[name])[:_LARGEST_BYTES]
    if parts:
        content = _packed(parts)
    for which, change in changes:
        if not parts or which == 0:
            content = change.apply(content)[:_LARGEST_BYTES]
    return content


def _unpacked(content: bytes) -> dict[str, bytes]:
    if not content.startswith(b"PK"):
        return {}
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _packed(parts: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, part in parts.items():
            archive.writestr(name, part)
    return buffer.getvalue()
