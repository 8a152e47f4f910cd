"""Messages: headers, the text in one of its versions, and attachments read by their own parsers."""

from __future__ import annotations

from collections.abc import Callable
from email.message import EmailMessage
from pathlib import Path

import pytest
import sample_files as files

from app.errors import EncryptedDocument, UnreadableDocument
from app.media_types import MediaType
from ingest.parsers import parse
from ingest.sections import Limits, Parsed

Read = Callable[..., Parsed]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def read(message: EmailMessage | bytes, limits: Limits | None = None) -> Parsed:
        path = tmp_path / "file.eml"
        path.write_bytes(message if isinstance(message, bytes) else message.as_bytes())
        return parse(path, MediaType.EML, limits)

    return read


def mail(text: str = "Fifteen days.", subject: str = "Leave") -> EmailMessage:
    message = EmailMessage()
    message["From"] = "李雷 <lee@example.com>"
    message["To"] = "kim@example.com"
    message["Date"] = "Mon, 15 Jan 2024 09:30:00 +0000"
    message["Subject"] = subject
    message["X-Other"] = "not shown"
    message.set_content(text)
    return message


def test_headers_and_text(read: Read) -> None:
    """The headers that a reader sees come first, decoded; the subject is the title and the heading of everything."""
    parsed = read(mail("年假十五天。\n", "关于年假的通知，请各部门在年底之前安排完毕，逾期不再补休"))
    subject = "关于年假的通知，请各部门在年底之前安排完毕，逾期不再补休"
    assert parsed.title == subject
    (section,) = parsed.sections
    assert section.headings == (subject,)
    assert section.text == (
        "From: 李雷 <lee@example.com>\nTo: kim@example.com\nDate: Mon, 15 Jan 2024 09:30:00 +0000\n"
        f"Subject: {subject}\n\n年假十五天。"
    )


@pytest.mark.parametrize(
    ("header", "shown"),
    [
        (b"=?utf-8?q?Caf=C3=A9?= =?utf-8?b?5bm05YGH?=", "Café年假"),
        (b"=?gb2312?B?xOq82Q==?=", "年假"),
        ("年假".encode(), "年假"),
        ("年假安排的通知".encode("gb18030"), "年假安排的通知"),
        (b"=?utf-8?b?broken", "=?utf-8?b?broken"),
        (b"=?no-such?q?caf=C3=A9?=", "café"),
        (b"folded\r\n over lines", "folded over lines"),
    ],
)
def test_encoded_headers(header: bytes, shown: str, read: Read) -> None:
    """Headers are decoded by RFC 2047, and as old programs wrote them."""
    assert (
        read(b"From: a@b.c\r\nSubject: " + header + b"\r\nContent-Type: text/plain; charset=gbk\r\n\r\nText").title
        == shown
    )


def test_invisible_characters(read: Read) -> None:
    """Invisible characters in a subject are no part of the heading, and are told of."""
    parsed = read(mail(subject="Le\u200bave"))
    assert parsed.sections[0].headings == ("Leave",)
    assert parsed.warnings == ("Invisible characters were removed.",)


@pytest.mark.parametrize("charset", ["utf-8", "gb2312", "big5", "iso-2022-jp", "iso-8859-1"])
@pytest.mark.parametrize("transfer", ["base64", "quoted-printable", "8bit"])
def test_encodings(charset: str, transfer: str, read: Read) -> None:
    """Text in any encoding, packed in any way."""
    text = "Le café est fermé." if charset == "iso-8859-1" else "休暇は十五日" if charset == "iso-2022-jp" else "年假"
    message = mail()
    message.set_content(
        text, charset=charset, cte="7bit" if (charset, transfer) == ("iso-2022-jp", "8bit") else transfer
    )
    assert read(message).sections[0].text.endswith(text)


def test_flowed_text(read: Read) -> None:
    """Lines that were broken to fit are whole again; quotes and the signature are not joined."""
    data = b"From: a@b.c\nContent-Type: text/plain; format=flowed\n\nOne \nline.\n> quote \n> more\n-- \nLee"
    assert read(data).sections[0].text.endswith("One line.\n> quote \n> more\n-- \nLee")


def test_plain_is_preferred(read: Read) -> None:
    """Of two versions of the text the plain one is read, unless it is empty; HTML is read as it is seen."""
    both = mail()
    both.add_alternative("<p>RICH</p>", subtype="html")
    assert "RICH" not in read(both).sections[0].text
    empty = mail(" \n")
    empty.add_alternative("<h1>Rich</h1><script>SCRIPT</script><p hidden>HIDDEN</p><p>text</p>", subtype="html")
    parsed = read(empty)
    assert [section.headings for section in parsed.sections] == [("Leave",), ("Leave", "Rich")]
    assert parsed.sections[1].text == "Rich\n\ntext"


def test_attachments(read: Read) -> None:
    """Attachments follow under their names, each read by its own parser; one that cannot be read is told of."""
    message = mail()
    word = files.word(lambda document: document.add_heading("Policy", 1) and document.add_paragraph("Until March."))
    message.add_attachment(word, maintype="application", subtype="octet-stream", filename="假期.docx")
    message.add_attachment("a,b\n1,2\n", subtype="csv", filename="../days.csv")
    message.add_attachment(b"MZ\x90\x00\x03", maintype="application", subtype="pdf", filename="virus.pdf")
    message.add_attachment(
        files.pdf([["Secret."]], password="x"), maintype="application", subtype="pdf", filename="s.pdf"
    )
    parsed = read(message)
    assert [(section.headings, section.text) for section in parsed.sections[1:]] == [
        (("Leave", "假期.docx"), "假期.docx"),
        (("Leave", "假期.docx", "Policy"), "Policy\n\nUntil March."),
        (("Leave", ".. days.csv"), ".. days.csv"),
        (("Leave", ".. days.csv"), "a | b\n1 | 2"),
    ]
    assert len(parsed.warnings) == 2
    assert parsed.warnings[0].startswith("The attachment virus.pdf was left out: virus.pdf is not a PDF but a Windows")
    assert "s.pdf was left out: The file is password-protected" in parsed.warnings[1]


def test_attachment_without_a_name(read: Read) -> None:
    """An attachment without a name has its number, and is read by its kind."""
    message = mail()
    message.add_attachment("a,b\n1,2\n", subtype="csv", disposition="inline")
    assert [section.text for section in read(message).sections[1:]] == ["attachment 1.csv", "a | b\n1 | 2"]


def test_messages_within_messages(read: Read) -> None:
    """A forwarded message is read under its subject, to a small depth only."""
    message = mail("innermost", "Level 4")
    for level in (3, 2, 1):
        outer = mail(f"text {level}", f"Level {level}")
        outer.add_attachment(message)
        message = outer
    parsed = read(message)
    text = "\n".join(section.text for section in parsed.sections)
    assert "text 3" in text
    assert "innermost" not in text
    assert parsed.sections[-1].headings == ("Level 1", "Level 2", "Level 2", "Level 3", "Level 3")
    assert any("nested too deeply" in warning for warning in parsed.warnings)


def test_limits(read: Read) -> None:
    """Attachments beyond fifty are left out, and all of them share the limit on text."""
    message = mail()
    for number in range(60):
        message.add_attachment(f"Attachment {number}.", filename=f"{number}.txt")
    parsed = read(message)
    assert parsed.sections[-1].text == "Attachment 49.\n"
    assert parsed.warnings == ("10 of 60 attachments were left out.",)
    parsed = read(message, Limits(max_characters=400))
    assert sum(len(section.text) for section in parsed.sections) < 500
    assert "more text than is allowed" in parsed.warnings[-1]


@pytest.mark.parametrize("header", [b"Subject: ", b"Content-Type: text/plain; ", b"Content-Type: multipart/mixed; "])
@pytest.mark.parametrize("unit", [b"=?utf-8?q?x?= ", b"a*1*=x; ", b'"\\";', b"x"])
def test_endless_headers(header: bytes, unit: bytes, read: Read) -> None:
    """A header of a megabyte costs no more than its first part."""
    read(b"From: a@b.c\n" + header + unit * (1_000_000 // len(unit)) + b"\n\nText")


def test_zip_bomb_attached(read: Read) -> None:
    """An attached zip bomb is left out; the message is read."""
    message = mail()
    bomb = files.word_of_xml("<!--" + " " * 40_000_000 + "-->")
    message.add_attachment(bomb, maintype="application", subtype="zip", filename="bomb.docx")
    parsed = read(message)
    assert parsed.sections[0].text.endswith("Fifteen days.")
    assert "zip bomb" in parsed.warnings[0]


def test_refusals(read: Read) -> None:
    """Encrypted messages and what is no message are clear failures."""
    encrypted = b"From: a@b.c\nContent-Type: multipart/encrypted; boundary=x\n\n--x\n\nx\n--x--\n"
    with pytest.raises(EncryptedDocument, match="encrypted"):
        read(encrypted)
    with pytest.raises(UnreadableDocument, match="not an e-mail message"):
        read(b"only words")


def test_signed_messages(read: Read) -> None:
    """A signature is no attachment."""
    data = (
        b"From: a@b.c\nContent-Type: multipart/signed; boundary=x\n\n--x\nContent-Type: text/plain\n\nSigned.\n--x\n"
        b"Content-Type: application/pgp-signature; name=signature.asc\n\nxyz\n--x--\n"
    )
    parsed = read(data)
    assert parsed.sections[0].text == "From: a@b.c\n\nSigned."
    assert parsed.warnings == ()
