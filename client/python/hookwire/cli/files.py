"""Writes files: whole, or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from hookwire import errors
from hookwire.cli import failure
from hookwire.facts import tensor_file
from hookwire.facts.dtypes import Array

F = TypeVar("F", bound=Callable[..., Any])
PICTURES = (".png", ".svg", ".pdf", ".html")


class _File(click.Path):
    """The name of a file to write; an empty one is no name, where `Path` takes it for a folder."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not str(value):
            self.fail("the name of the file is empty", param, ctx)
        return super().convert(value, param, ctx)


FILE = _File(dir_okay=False, path_type=Path)
"""The type of an option that names a file to write."""


def picture_option(what: str) -> Callable[[F], F]:
    """Adds `-o`, where a picture is to be drawn, as the argument `path`: None by default.

    Args:
        what: the beginning of the help.
    """
    return click.option(
        "-o",
        "--output",
        "path",
        type=FILE,
        help=f"{what}: .png, .svg, .pdf or .html.",
    )


def check_folder(path: Path) -> None:
    """Says before a run, rather than after it, that its result cannot be written.

    Raises:
        Failure: there is no such folder, or it cannot be written to.
    """
    folder = path.parent
    if path.is_dir():
        failure.refuse(f"{path} is a folder")
    if not folder.is_dir():
        failure.refuse(f"{path}: there is no folder {folder}")
    if not os.access(folder, os.W_OK):
        failure.refuse(f"{path}: the folder {folder} cannot be written to")


def check_safetensors(path: Path) -> None:
    """Says before any run that tensors cannot be written there.

    Raises:
        Failure: the name is that of a file of another kind, or the folder cannot be written to.
    """
    if path.suffix.lower() not in ("", ".safetensors"):
        failure.refuse(f"{path}: tensors are written as .safetensors, not {path.suffix}")
    check_folder(path)


def check_picture(path: Path) -> None:
    """Says before any run that a picture cannot be drawn or written.

    Raises:
        Failure: another suffix than `PICTURES`, or a folder that cannot be written to.
        MissingExtraError: the library that draws it is not installed.
    """
    from hookwire.plot import extras

    if path.suffix.lower() not in PICTURES:
        failure.refuse(f"{path}: a picture is {', '.join(PICTURES[:-1])} or {PICTURES[-1]}")
    check_folder(path)
    extras.load("plotly" if path.suffix.lower() == ".html" else "matplotlib")


def write_safetensors(
    path: Path, tensors: Mapping[str, Array], metadata: Mapping[str, str]
) -> None:
    """Writes tensors and metadata.

    Args:
        path: replaced in one step when all is written.
        tensors: by name; of any dtype of the wire.
        metadata: names and texts.

    Raises:
        Failure: the disk is full, or the like.
    """
    try:
        tensor_file.write(path, tensors, metadata)
    except errors.FileError as error:
        failure.refuse(error.message)
