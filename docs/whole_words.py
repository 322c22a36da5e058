"""Keeps `--flags` and other words with a hyphen on one line. MkDocs calls `on_page_content`.

A browser breaks a line after any hyphen, also after the first of "--device".
"""

from __future__ import annotations

import re
from typing import Any

# Longer ones have to be broken on a narrow screen.
LONGEST = 28


def on_page_content(html: str, **_: Any) -> str:
    """The page, with such words of its inline code marked as whole."""
    return re.sub(r"(?<!<pre>)(?<!<pre><span></span>)<code>([^<]*-[^<]*)</code>", _code, html)


def _code(found: re.Match[str]) -> str:
    words = re.sub(r"\S*-\S*", _word, found[1])
    return f"<code>{words}</code>"


def _word(found: re.Match[str]) -> str:
    word = found[0]
    return f'<span class="whole">{word}</span>' if len(word) <= LONGEST else word
