"""The site builds without a warning, and what is generated in it is fresh."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import hookwire
import pytest

from tests.docs.blocks import blocks
from tests.parity.daemon import ROOT

DOCS = ROOT / "docs"


def run(*command: str | Path) -> None:
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(
        [sys.executable, *command],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built without a warning, or not at all."""
    directory = tmp_path_factory.mktemp("site")
    run("-m", "mkdocs", "build", "--strict", "--site-dir", directory)
    return directory


def test_every_page_is_in_the_site(site: Path) -> None:
    pages = {path.relative_to(DOCS).with_suffix(".html") for path in DOCS.rglob("*.md")}
    assert {page for page in pages if not (site / page).exists()} == set()
    assert (site / "notebooks" / "activation-patching.ipynb").exists()


def test_every_page_is_in_the_navigation(site: Path) -> None:
    linked = set(re.findall(r'href="([^"#]+)', (site / "index.html").read_text()))
    pages = {path.relative_to(DOCS).with_suffix(".html").as_posix() for path in DOCS.rglob("*.md")}
    assert pages - linked == set()


def test_every_public_name_is_in_the_reference(site: Path) -> None:
    found = set()
    for page in ("model", "ops", "errors"):
        html = (site / "reference" / f"{page}.html").read_text()
        found |= set(re.findall(r'<h\d id="hookwire\.([\w.]+)"', html))
    wanted = {f"errors.{name}" for name in hookwire.errors.__all__}
    wanted |= {f"ops.{name}" for name in ("set", "add", "scale", "zero", "copy")}
    for module in (hookwire.aio, hookwire.patching, hookwire.plot):
        names = {name for name in module.__all__ if callable(getattr(module, name))}
        names -= set(hookwire.errors.__all__)
        wanted |= {f"{module.__name__.removeprefix('hookwire.')}.{name}" for name in names}
    wanted |= {
        name
        for name in hookwire.__all__
        if name not in hookwire.errors.__all__ and callable(getattr(hookwire, name))
    }
    wanted |= {f"RemoteModel.{name}" for name in ("run_with_cache", "stream", "hooks", "W_Q")}
    assert wanted - found == set()


def test_code_fits_its_pane() -> None:
    """What the pages' font has room for at a width of 1400 pixels; printed text is wrapped."""
    long = [
        f"{page.relative_to(ROOT)}:{block.line}: {line}"
        for page in DOCS.rglob("*.md")
        for block in blocks(page)
        if block.language in ("python", "py", "sh", "cpp")
        for line in block.code.splitlines()
        if len(line) > 116
    ]
    assert long == []


def test_the_site_fetches_nothing_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        html = page.read_text()
        assert re.findall(r'<script[^>]* src="(?:https?:)?//', html) == [], page
        assert re.findall(r'<link[^>]* rel="(?:stylesheet|preconnect)"[^>]*//', html) == [], page


def test_the_hook_reference_is_fresh() -> None:
    run("docs/generate_hooks.py", "--check")
