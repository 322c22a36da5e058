"""The code blocks of a page, and what the page says that they print."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

FENCE = re.compile(r"^(?P<indent> *)```(?P<language>[\w+-]*)(?P<rest>.*)$")
ELLIPSIS = "…"


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        language: "python", "console", "text", …; empty where the fence names none.
        code: its lines.
        line: where the first of them stands on the page, from 1.
        output: the lines of the block that follows it with nothing in between, if that is plain
            text: what the block prints. None where there is none.
    """

    language: str
    code: str
    line: int
    output: str | None = None


def blocks(page: Path) -> list[Block]:
    """All blocks of a page, in order."""
    found: list[Block] = []
    lines = page.read_text().splitlines()
    at, since_last = 0, 0
    while at < len(lines):
        fence = FENCE.match(lines[at])
        if fence is None:
            since_last += bool(lines[at].strip())
            at += 1
            continue
        indent = len(fence["indent"])
        end = next(i for i in range(at + 1, len(lines)) if lines[i].strip() == "```")
        code = "\n".join(line[indent:] for line in lines[at + 1 : end])
        language = fence["language"]
        if language in ("", "text") and found and since_last == 0 and found[-1].output is None:
            last = found.pop()
            found.append(Block(last.language, last.code, last.line, code))
        else:
            found.append(Block(language, code, at + 2))
        at, since_last = end + 1, 0
    return found


def same(shown: str, printed: str) -> bool:
    """Whether a page shows what was printed.

    A line that is just `…` stands for any lines, and `…` in a line for any characters. A page may
    break a long line where it has a space.
    """
    wanted = [line.rstrip() for line in shown.strip().splitlines()]
    got = "\n".join(line.rstrip() for line in printed.strip().splitlines())
    parts = []
    for line in wanted:
        if line.strip() == ELLIPSIS:
            parts.append(r"(?:.*\n)*?")
        else:
            parts.append(".*".join(map(re.escape, line.split(ELLIPSIS))) + r"[ \n]")
    return re.fullmatch("".join(parts), got + "\n") is not None
