"""Makes a page of the site from each notebook, with its outputs. MkDocs calls `on_files`.

Each notebook is run, from its first cell to its last, with a daemon on the toy. The page has the
code, what it prints, tables and pictures. The notebook itself is beside it, to download.
"""

from __future__ import annotations

from pathlib import Path

import hookwire
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from run_notebook import Ran, run_notebook

ROOT = Path(__file__).resolve().parents[1]
DAEMON = ROOT / "build" / "release" / "bin" / "hookwired"


class NotebookPage(File):
    """A notebook in place of a Markdown file: links to it lead to its page."""

    def is_documentation_page(self) -> bool:
        """True: it becomes a page."""
        return True


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Puts a page and its pictures in the place of each notebook."""
    notebooks = [file for file in files if file.src_uri.endswith(".ipynb")]
    if not DAEMON.exists():
        raise PluginError(f"There is no {DAEMON}, which runs the notebooks: ./run docs makes it.")
    with hookwire.serve(
        ROOT / "toy" / "checkpoint", daemon=DAEMON, flags=("--threads", "2"), quiet=True
    ) as model:
        for file in notebooks:
            files.remove(file)
            cells, _ = run_notebook(Path(config.docs_dir, file.src_uri), model.server.address)
            for made in page_files(file, cells, config):
                files.append(made)
    return files


def page_files(notebook: File, cells: list[Ran], config: MkDocsConfig) -> list[File]:
    """The page of a notebook, its pictures, and the notebook to download.

    Args:
        notebook: the file.
        cells: the notebook's, after they have run.
        config: the site's.
    """
    folder = notebook.src_uri.removesuffix(".ipynb")
    name = notebook.name
    pictures: dict[str, bytes] = {}
    parts = []
    for cell in cells:
        if not cell.is_code:
            parts.append(cell.source)
            continue
        parts.append(fenced("python", cell.source))
        if cell.printed:
            parts.append(fenced("{ .text .output }", cell.printed))
        if "image/png" in cell.shown:
            picture = f"{len(pictures) + 1}.png"
            pictures[picture] = cell.shown["image/png"]
            about = cell.shown["text/plain"].strip("<>")
            parts.append(f"![{about}]({name}/{picture})")
        elif "text/html" in cell.shown:
            parts.append(f'<div class="output">\n{cell.shown["text/html"]}\n</div>')
        elif cell.shown:
            parts.append(fenced("{ .text .output }", cell.shown["text/plain"]))
    parts.append(f"[Download this notebook]({name}/{name}.ipynb)")
    page = NotebookPage.generated(config, notebook.src_uri, content="\n\n".join(parts))
    beside = {**pictures, f"{name}.ipynb": notebook.content_bytes}
    return [
        page,
        *(
            File.generated(config, f"{folder}/{file}", content=content)
            for file, content in beside.items()
        ),
    ]


def fenced(language: str, text: str) -> str:
    """A block of code, or of what it prints."""
    return f"```{language}\n{text.rstrip()}\n```"
