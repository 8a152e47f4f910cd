"""PDFs as people's programs make them: pages of known text, printed by a browser, an office suite and LaTeX."""

from __future__ import annotations

import html
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_SECONDS = 180


@dataclass(frozen=True, slots=True)
class Page:
    """What stands on a page, in the order of reading."""

    title: str
    paragraphs: Sequence[str]
    table: Sequence[Sequence[str]]
    note: str

    @property
    def text(self) -> str:
        return "\n".join([self.title, *map(" ".join, self.table), *self.paragraphs, self.note])


def producers(language: str) -> dict[str, Callable[[Sequence[Page]], bytes]]:
    """Those that are installed here, by name."""
    found: dict[str, Callable[[Sequence[Page]], bytes]] = {}
    browser = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if browser:
        found["a browser's print"] = lambda pages: _by_browser(browser, _as_html(pages, language))
        found["a browser's print, 2 columns"] = lambda pages: _by_browser(browser, _as_html(pages, language, columns=2))
    office = shutil.which("soffice")
    if office:
        found["LibreOffice"] = lambda pages: _by_office(office, _as_html(pages, language))
    latex = shutil.which("pdflatex")
    if latex and language == "en":
        found["LaTeX"] = lambda pages: _by_latex(latex, _as_latex(pages, columns=1))
        found["LaTeX, 2 columns"] = lambda pages: _by_latex(latex, _as_latex(pages, columns=2))
    return found


def _as_html(pages: Sequence[Page], language: str, *, columns: int = 1) -> str:
    style = (
        "@page { size: A4; margin: 18mm } body { font: 10pt serif; text-align: justify; hyphens: auto }"
        f".columns {{ columns: {columns} }}"
    )
    body = "".join(_page_as_html(page, is_last=page is pages[-1]) for page in pages)
    return (
        f'<!doctype html><html lang="{language}"><meta charset="utf-8"><style>{style}</style><body>{body}</body></html>'
    )


def _page_as_html(page: Page, *, is_last: bool) -> str:
    rows = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in page.table)
    table = f'<table border="1" cellpadding="4" width="100%">{rows}</table>' if rows else ""
    text = "".join(f"<p>{html.escape(each)}</p>" for each in page.paragraphs)
    after = "" if is_last else "; page-break-after: always"
    return (
        f'<h2>{html.escape(page.title)}</h2>{table}<div class="columns">{text}</div>'
        f'<p style="font-size: 8pt; margin-top: 12pt{after}">{html.escape(page.note)}</p>'
    )


def _as_latex(pages: Sequence[Page], *, columns: int) -> str:
    start, end = (r"\begin{multicols}{2}", r"\end{multicols}") if columns == 2 else ("", "")
    parts = []
    for page in pages:
        rows = "".join(" & ".join(map(_escaped, row)) + r" \\" for row in page.table)
        table = rf"\noindent\begin{{tabular}}{{lll}}{rows}\end{{tabular}}" if rows else ""
        text = "\n\n".join(map(_escaped, page.paragraphs))
        note = rf"\footnotetext{{{_escaped(page.note)}}}"
        parts.append(f"\\section*{{{_escaped(page.title)}}}\n{table}\n\n{start}{text}{end}\n\n{note}\\newpage\n")
    head = r"\documentclass[a4paper,10pt]{article}\usepackage[T1]{fontenc}\usepackage{lmodern,multicol}"
    margins = r"\usepackage[margin=20mm]{geometry}\renewcommand{\thefootnote}{}\pagestyle{empty}"
    return f"{head}{margins}\\begin{{document}}\n{''.join(parts)}\\end{{document}}\n"


def _escaped(text: str) -> str:
    """With every character printed as it is written, a straight apostrophe too."""
    text = re.sub(r"([&%$#_{}])", r"\\\1", text)
    for character, command in (("~", "asciitilde"), ("^", "asciicircum"), ("'", "quotesingle")):
        text = text.replace(character, rf"\text{command}{{}}")
    return text


def _by_browser(browser: str, page: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        source, made = Path(folder) / "page.html", Path(folder) / "page.pdf"
        source.write_text(page, "utf-8")
        options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder}/profile"]
        _run([browser, *options, "--no-pdf-header-footer", f"--print-to-pdf={made}", source.as_uri()], folder)
        return made.read_bytes()


def _by_office(office: str, page: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "page.html").write_text(page, "utf-8")
        profile = f"-env:UserInstallation={Path(folder).as_uri()}/profile"
        kind = ["--infilter=HTML (StarWriter)", "--convert-to", "pdf:writer_pdf_Export"]
        _run([office, profile, "--headless", *kind, "--outdir", folder, "page.html"], folder)
        return (Path(folder) / "page.pdf").read_bytes()


def _by_latex(latex: str, page: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "page.tex").write_text(page, "utf-8")
        _run([latex, "-interaction=nonstopmode", "-halt-on-error", "page.tex"], folder)
        return (Path(folder) / "page.pdf").read_bytes()


def _run(command: Sequence[str], folder: str) -> None:
    """Raises `CalledProcessError` with what the program said."""
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=_SECONDS)
