"""A name in a guide exists: files, classes, functions, flags that READMEs and comments speak of."""

from __future__ import annotations

import functools
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.parity.daemon import ROOT

# Guides for contributors: they speak of files and of C++ and Python names. Other pages in docs/ are
# for users, and their blocks are run (test_pages.py).
GUIDES = ("CONTRIBUTING.md", "README.md", "extending.md", "how-a-run-travels.md")

# Comments of these languages.
COMMENT = {".cc": "//", ".h": "//", ".proto": "//", ".py": "#", ".cmake": "#", ".toml": "#"}

# Names of other projects, which our code does not contain.
FOREIGN = frozenset(
    """
    sh LoRA TransformerLens TransformerBridge RemoteBridge GoogleTest GoogleMock OpenMP LevelDB
    AddressSanitizer UndefinedBehaviorSanitizer ThreadSanitizer LeakSanitizer
    PermissionDenied HealthCheckRequest HealthCheckResponse ServerReflectionRequest
    """.split()  # noqa: SIM905
)
CAMEL = re.compile(r"\b[A-Z][a-z0-9]+(?:[A-Z][a-z0-9]*)+\b")


@functools.cache
def tracked() -> frozenset[str]:
    listing = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    files = listing.stdout.split("\n")[:-1]
    folders = {str(parent) for name in files for parent in Path(name).parents}
    return frozenset(files) | folders


@functools.cache
def parts(name: str) -> tuple[str, str]:
    """The code of a file, and its comments."""
    mark = COMMENT.get(Path(name).suffix, "#")
    code, comments = [], []
    for line in (ROOT / name).read_text().splitlines():
        before, _, after = line.partition(mark)
        code.append(before)
        comments.append(after)
    return "\n".join(code), "\n".join(comments)


@functools.cache
def code() -> str:
    suffixes = {*COMMENT, ".txt", ".json", ".yml", ""}
    here = Path(__file__).relative_to(ROOT).as_posix()
    names = sorted(
        name
        for name in tracked()
        if Path(name).suffix in suffixes
        and (ROOT / name).is_file()
        and name != here
        and not name.startswith(("toy/checkpoint", "LICENSE"))
    )
    return "\n".join(parts(name)[0] for name in names)


@functools.cache
def words() -> frozenset[str]:
    return frozenset(re.findall(r"\w+", code()))


def is_path(text: str, guide: str) -> bool:
    if "/" not in text:
        return any(Path(name).name == text for name in tracked())
    if text.startswith("build/"):
        return True
    folder = Path(guide).parent
    rooms = (Path("server"), Path("tests"), Path("client/python/hookwire"))
    places = (Path(), folder, *folder.parents, *rooms)
    ends = ("", ".h", ".cc", ".py")
    return any(f"{(place / text).as_posix()}{end}" in tracked() for place in places for end in ends)


def problems(guide: str) -> Iterator[str]:
    text = (ROOT / guide).read_text()
    text = re.sub(r"^(```|~~~).*?^\1", "", text, flags=re.DOTALL | re.MULTILINE)
    stems = {Path(name).stem for name in tracked() if Path(name).parent == Path(guide).parent}
    for span in re.findall(r"`([^`\n]+)`", text):
        if re.fullmatch(r"[\w./-]+/[\w./-]*|[\w-]+\.(cc|h|py|md|proto|cmake|sh)", span):
            if not is_path(span, guide):
                yield f"{guide}: there is no file {span}"
            continue
        call = re.fullmatch(r"(?:\w+(?:::|\.))*(\w+)\(\)", span)
        if call and not re.search(rf"\b{call[1]}\(", code()):
            yield f"{guide}: there is no function {span}"
        elif re.fullmatch(r"\w+(?:(?:::|\.)\w+)*", span):
            missing = [w for w in re.findall(r"\w+", span) if w not in words() | FOREIGN | stems]
            if missing:
                yield f"{guide}: no code has the name {span}"
    for name in sorted(set(CAMEL.findall(text)) - words() - FOREIGN):
        yield f"{guide}: no code has the name {name}"


def guides() -> list[str]:
    return sorted(name for name in tracked() if Path(name).name in GUIDES)


def test_files_that_pages_speak_of_exist() -> None:
    folders = {name.split("/")[0] for name in tracked() if "/" in name}
    missing = [
        f"{page}: {span}"
        for page in sorted(tracked())
        if page.startswith("docs/") and page.endswith(".md")
        for span in re.findall(r"`([\w./-]+/[\w./-]*)`", (ROOT / page).read_text())
        if span.split("/")[0] in folders and not is_path(span, "README.md")
    ]
    assert missing == [], "\n".join(missing)


@pytest.mark.parametrize("guide", guides())
def test_names_in_a_guide_exist(guide: str) -> None:
    assert list(problems(guide)) == []


def test_classes_in_comments_exist() -> None:
    """`TensorSink` in a comment is a class, a function or a value that the code still has."""
    known = words() | FOREIGN
    missing = [
        f"{name}: {word}"
        for name in sorted(tracked())
        if name.startswith(("server/", "model/", "proto/", "bench/", "tests/"))
        and Path(name).suffix in {".cc", ".h", ".proto"}
        for word in sorted(set(CAMEL.findall(parts(name)[1])) - known)
        # Plurals; InvalidArgument for InvalidArgumentError, OutOfRange for kOutOfRange.
        if not {word.removesuffix("s"), f"{word}Error", f"k{word}"} & known
    ]
    assert missing == [], "\n".join(missing)
