"""What the pages show is what happens."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hookwire._proto import service_pb2

from tests.docs.blocks import Block, blocks, same
from tests.docs.pages import commands, run_command, run_page
from tests.parity.daemon import ROOT

DOCS = ROOT / "docs"
# Its commands are tried below: what they print holds times.
COMMAND = DOCS / "cli.md"
PAGES = [ROOT / "README.md", *sorted(set(DOCS.rglob("*.md")) - {COMMAND})]
RUN = [page for page in PAGES if {"python", "console"} & {b.language for b in blocks(page)}]


@pytest.mark.parametrize("page", RUN, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_blocks_of_a_page_run_and_print_what_it_shows(
    page: Path, toy: str, tmp_path: Path
) -> None:
    run_page(page, toy, tmp_path)


def test_the_commands_page_shows_commands_that_work(
    toy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tried = 0
    for block in blocks(COMMAND):
        if block.language == "python":  # reads the file that a command before it has written
            exec(block.code, {})
        if not block.code.startswith("$ "):
            continue
        for command, shown in commands(block):
            if "…" in command:  # stands for the words of the command before it
                continue
            status, printed = run_command(command, toy)
            assert (status != 0) == ("error:" in shown), f"{command}\n{printed}"
            tried += 1
    assert tried >= 6


def test_every_reason_of_an_error_is_on_the_protocols_page() -> None:
    shown = set(re.findall(r"`([A-Z_]+)`", (DOCS / "protocol.md").read_text()))
    reasons = {value.name for value in service_pb2.ErrorReason.DESCRIPTOR.values}
    assert {r.removeprefix("ERROR_REASON_") for r in reasons} - shown == {"UNSPECIFIED"}


def test_blocks_know_their_output(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```python\nprint(1)\n```\n\n```text\n1\n```\n\nand\n\n```\n2\n```\n")
    assert blocks(page) == [
        Block("python", "print(1)", 2, "1"),
        Block("", "2", 12),
    ]


@pytest.mark.parametrize(
    ("shown", "printed", "are_same"),
    [
        ("1\n2", "1\n2\n", True),
        ("1\n2", "1\n3\n", False),
        ("1\n2", "1\n2\n3\n", False),
        ("1\n…\n4", "1\n2\n3\n4\n", True),
        ("1\n…\n4", "1\n4\n", True),
        ("1\n…", "2\n3\n", False),
        ("a … c", "a b c", True),
        ("a\nb", "a b", True),
        ("a b", "a\nb", False),
        ("a … c", "a b d", False),
    ],
)
def test_an_ellipsis_stands_for_anything(shown: str, printed: str, are_same: bool) -> None:
    assert same(shown, printed) is are_same


def test_a_page_that_shows_what_is_not_printed_fails(toy: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```python\nprint(1)\n```\n\n```text\n2\n```\n")
    with pytest.raises(AssertionError, match=r"page\.md:2"):
        run_page(page, toy, tmp_path)


def test_a_page_with_an_error_that_it_does_not_show_fails(toy: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```python\nraise KeyError(1)\n```\n\n```text\nValueError: 1\n```\n")
    with pytest.raises(KeyError):
        run_page(page, toy, tmp_path)
