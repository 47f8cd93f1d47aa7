"""The README and the pages of docs/ as data: blocks of code, commands, links, headings."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

__all__ = [
    "PAGES",
    "ROOT",
    "SHELL",
    "Block",
    "Command",
    "blocks_of",
    "commands_of",
    "headings_of",
    "inline_commands",
    "links_of",
    "prose_of",
    "read_page",
    "tables_of",
]

ROOT = Path(__file__).resolve().parents[2]
PAGES = (
    "README.md",
    *(path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "docs").rglob("*.md"))),
)
SHELL = ("sh", "console")

_FENCE = re.compile(r"^( *)```([^\n`]*)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
_PROGRAMS = {
    "cat",
    "curl",
    "export",
    "make",
    "mlflow",
    "opentelemetry-instrument",
    "pip",
    "python",
    "wattroute",
}
_ASSIGNMENTS = re.compile(r"^(?:\$ )?(?:[A-Za-z_]\w*=\S* +)*")
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)[^)\n]*\)")
_INLINE = re.compile(r"`wattroute ([^`]+)`")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block."""

    page: str
    line: int
    language: str
    text: str

    @property
    def where(self) -> str:
        return f"{self.page}:{self.line}"


@dataclass(frozen=True, slots=True)
class Command:
    """One command of a shell block, with the files or the text that it reads and writes."""

    where: str
    words: tuple[str, ...]
    stdin: str | None = None
    stdout: str | None = None
    text: str | None = None
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def program(self) -> str:
        return self.words[0]

    def __str__(self) -> str:
        return f"{self.where}: {shlex.join(self.words)}"


def read_page(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def blocks_of(page: str) -> list[Block]:
    """Return the fenced blocks of a page; one of commands without a language is ``sh``."""
    text = read_page(page)
    found = []
    for match in _FENCE.finditer(text):
        language = match[2].strip()
        body = re.sub(rf"^{match[1]}", "", match[3], flags=re.MULTILINE)
        if not language and programs_in(body):
            language = "sh"
        line = text.count("\n", 0, match.start()) + 2
        found.append(Block(page, line, language, body))
    return found


def programs_in(body: str) -> set[str]:
    """Return the programs that lines of a block begin with, behind variables set for them."""
    first = (_ASSIGNMENTS.sub("", line).split(" ", 1)[0] for line in body.splitlines())
    return _PROGRAMS & set(first)


def commands_of(block: Block) -> list[Command]:
    """Return the commands of a shell block; in a ``console`` block those behind ``$``."""
    lines = block.text.replace("\\\n", " ").splitlines()
    if block.language == "console":
        lines = [line[2:] for line in lines if line.startswith("$ ")]
    found = []
    while lines:
        line = lines.pop(0)
        text = None
        if here := re.search(r"<<\s*['\"]?(\w+)['\"]?", line):
            end = lines.index(here[1])
            text = "\n".join([*lines[:end], ""])
            del lines[: end + 1]
            line = line.replace(here[0], "")
        lexer = shlex.shlex(line, posix=True, punctuation_chars="<>|&;")
        lexer.whitespace_split = True
        words: list[str] = []
        for word in [*lexer, ";"]:
            assert word != "|", f"{block.where}: pipes are not run: use a file"
            if word in ("&", "&&", ";"):
                if words:
                    found.append(_command(block.where, words, text))
                words = []
            else:
                words.append(word)
    return found


def _command(where: str, words: list[str], text: str | None) -> Command:
    environment: dict[str, str] = {}
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        name, _, value = words.pop(0).partition("=")
        environment[name] = value
    files = {}
    for sign in "<>":
        if sign in words:
            at = words.index(sign)
            files[sign] = words[at + 1]
            del words[at : at + 2]
    return Command(where, tuple(words), files.get("<"), files.get(">"), text, environment)


def prose_of(page: str) -> str:
    """Return a page without its fenced blocks."""
    return _FENCE.sub("\n", read_page(page))


def inline_commands(page: str) -> list[Command]:
    """Return the commands that stand in sentences, such as `wattroute models --oxlo`."""
    text = prose_of(page)
    return [
        Command(page, ("wattroute", *shlex.split(" ".join(match[1].split()))))
        for match in _INLINE.finditer(text)
    ]


def links_of(page: str) -> list[str]:
    """Return the targets of all links and pictures."""
    return [match[1] for match in _LINK.finditer(prose_of(page))]


def headings_of(page: str) -> Iterator[str]:
    """Yield the anchors of a page's headings, as the site makes them."""
    seen: dict[str, int] = {}
    for title in re.findall(r"^#{1,6} +(.+?) *#*$", prose_of(page), re.MULTILINE):
        text = re.sub(r"[*_`]|\[([^\]]*)\]\([^)]*\)", r"\1", title)
        anchor = re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", text).strip().lower())
        count = seen.get(anchor, 0)
        seen[anchor] = count + 1
        yield f"{anchor}_{count}" if count else anchor


def tables_of(page: str) -> list[list[list[str]]]:
    """Return the tables of a page as rows of cells, the head first."""
    tables: list[list[list[str]]] = []
    rows: list[list[str]] = []
    for line in [*prose_of(page).splitlines(), ""]:
        if line.lstrip().startswith("|"):
            cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
            if not all(re.fullmatch(r":?-+:?", cell) for cell in cells):
                rows.append(cells)
        elif rows:
            tables.append(rows)
            rows = []
    return tables
