"""What `run` and `plan` ask for: the same options, and so the same run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from hookwire.cli import failure, places, points, prompts
from hookwire.cli.completion import complete_hooks
from hookwire.cli.places import Parts

F = TypeVar("F", bound=Callable[..., Any])


def options(command: F) -> F:
    """Adds the prompt and what is read of its run."""
    for add in (
        prompts.options,
        click.option(
            "--dtype", metavar="DTYPE", help="Convert captures to this dtype, such as float32."
        ),
        click.option(
            "--stop-at-layer",
            type=int,
            metavar="N",
            help="End the pass before this layer, and keep the residual stream that enters it.",
        ),
        click.option(
            "--logits",
            type=click.Choice(["last", "all"]),
            help="Keep the logits too: those of the last position, or all.",
        ),
        places.option("--pos", "Positions to capture"),
        click.option(
            "-c",
            "--capture",
            multiple=True,
            metavar="FILTER",
            callback=points.not_empty,
            shell_complete=complete_hooks,
            help="What to read: a name, an alias or a glob. You may give it several times.",
        ),
        click.argument("prompt"),
    ):
        command = add(command)
    return command


def check(
    *,
    capture: tuple[str, ...],
    pos: Parts | None,
    logits: str | None,
    stop_at_layer: int | None,
    dtype: str | None,
    path: Path | None = None,
) -> None:
    """Refuses options that contradict each other, or that change nothing.

    Args:
        capture: as in `arguments`, as are `pos`, `logits`, `stop_at_layer` and `dtype`.
        pos: chooses among captures.
        logits: is there unless the pass ends early.
        stop_at_layer: ends the pass early.
        dtype: is that of captures.
        path: where the tensors are to be written.

    Raises:
        UsageError, Failure: it says which.
    """
    if stop_at_layer is not None and logits is not None:
        raise click.UsageError("there are no --logits with --stop-at-layer")
    for option, value in (("--pos", pos), ("--dtype", dtype)):
        if value is not None and not capture:
            failure.refuse(f"{option} is about what is captured: say with -c what that is")
    if path is not None and not capture and logits is None and stop_at_layer is None:
        failure.refuse(
            f"there is nothing to write to {path}: -c says what to capture, --logits keeps the "
            "logits"
        )


def arguments(
    n_tokens: int,
    *,
    capture: tuple[str, ...],
    pos: Parts | None,
    logits: str | None,
    stop_at_layer: int | None,
    dtype: str | None,
) -> dict[str, Any]:
    """The options as arguments of `RemoteModel.plan` and `RemoteModel.stream`."""
    chosen: dict[str, Any] = {"names_filter": list(capture), "dtype": dtype}
    if pos is not None:
        chosen["pos_slice"] = places.resolve(pos, n_tokens, "position")
    chosen["return_type"] = "logits"
    if stop_at_layer is not None:
        return {**chosen, "stop_at_layer": stop_at_layer}
    return {**chosen, "logits_pos": None if logits == "all" else -1}
