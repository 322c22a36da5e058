"""The site builds without a warning, and what is generated in it is fresh."""

from __future__ import annotations

import html
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import hookwire
import pytest

from tests.docs.browser import Browser, browser
from tests.parity.daemon import ROOT

DOCS = ROOT / "docs"
LOOK = Path(__file__).with_name("look.js").read_text()
SCREENSHOTS = ROOT / "build" / "screenshots"


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


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A browser, in a folder of screenshots that is empty."""
    shutil.rmtree(SCREENSHOTS, ignore_errors=True)
    with browser() as opened:
        yield opened


def pages_of(site: Path) -> list[Path]:
    """All but the one for addresses that do not exist: its links begin at a server's root."""
    return sorted(set(site.rglob("*.html")) - {site / "404.html"})


def test_every_page_is_in_the_site_and_in_the_navigation(site: Path) -> None:
    sources = [*DOCS.rglob("*.md"), *DOCS.rglob("*.ipynb")]
    pages = {path.relative_to(DOCS).with_suffix(".html").as_posix() for path in sources}
    assert {page for page in pages if not (site / page).exists()} == set()
    linked = set(re.findall(r'href="([^"#]+)', (site / "index.html").read_text()))
    assert pages - linked == set()


def test_notebooks_are_shown_with_their_outputs(site: Path) -> None:
    for notebook, printed, pictures in (
        ("activation-patching", "clean +9.8, corrupted -7.0", 4),
        ("exploratory-analysis", "[(5, 0), (5, 1)]", 3),
    ):
        page = (site / "notebooks" / f"{notebook}.html").read_text()
        assert printed in page
        shown = re.findall(rf'<img[^>]* src="{notebook}/(\d\.png)"', page)
        assert shown == [f"{number + 1}.png" for number in range(pictures)]
        assert f'href="{notebook}/{notebook}.ipynb"' in page


def test_every_public_name_is_in_the_reference(site: Path) -> None:
    found = set()
    for page in ("model", "ops", "errors"):
        text = (site / "reference" / f"{page}.html").read_text()
        found |= set(re.findall(r'<h\d id="hookwire\.([\w.]+)"', text))
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


# The colours that a reader may prefer, and the window's width in pixels. In the dark, pages with
# pictures are looked at.
@pytest.mark.parametrize(
    ("scheme", "width"), [("light", 1400), ("light", 400), ("dark", 1400)], ids=str
)
def test_every_page_looks_right_in_a_browser(
    site: Path, chromium: Browser, scheme: str, width: int
) -> None:
    wrong = []
    for page in pages_of(site):
        if scheme == "dark" and "<img" not in page.read_text():
            continue
        name = page.relative_to(site).with_suffix("").as_posix()
        wrong += [f"{name}: {error}" for error in chromium.open(page, width, scheme)]
        wrong += [f"{name}: {found}" for found in chromium.evaluate(LOOK)]
        colours = chromium.evaluate("document.body.dataset.mdColorScheme")
        assert colours == {"light": "default", "dark": "slate"}[scheme]
        shot = SCREENSHOTS / f"{name.replace('/', '-')}-{width}-{scheme}.png"
        chromium.screenshots(shot)
    assert wrong == []


def test_no_link_is_broken(site: Path) -> None:
    texts = {page: page.read_text() for page in pages_of(site)}
    anchors = {
        page: set(re.findall(r' (?:id|name)="([^"]+)"', text)) for page, text in texts.items()
    }
    broken = []
    for page, text in texts.items():
        for link in re.findall(r'<(?:a|link|img|script)[^>]* (?:href|src)="([^"]+)"', text):
            path, _, anchor = unquote(html.unescape(link)).partition("#")
            if re.match(r"\w+:", path):
                continue
            target = (page.parent / path).resolve() if path else page
            if not target.is_file() or (anchor and anchor not in anchors.get(target, ())):
                broken.append(f"{page.relative_to(site)}: {link}")
    assert broken == []


def test_the_site_fetches_nothing_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        text = page.read_text()
        assert re.findall(r'<script[^>]* src="(?:https?:)?//', text) == [], page
        assert re.findall(r'<link[^>]* rel="(?:stylesheet|preconnect)"[^>]*//', text) == [], page


def test_the_hook_reference_is_fresh() -> None:
    run("docs/generate_hooks.py", "--check")
