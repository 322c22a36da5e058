"""Errors and warnings as lines on standard error, with an exit status."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, NoReturn

import click

from hookwire import errors

# The request was right, and what it asked for did not come about.
_FAILURES = (
    errors.CancelledError,
    errors.DeadlineError,
    errors.IncompleteResultError,
    errors.InternalServerError,
    errors.QueueFullError,
    errors.ServerOutOfMemoryError,
    errors.ShuttingDownError,
    errors.WeightsChangedError,
)


class Failure(click.ClickException):
    """Ends the command, before anything ran, with one line on standard error."""

    exit_code = 2

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))

    def show(self, file: IO[Any] | None = None) -> None:
        """Prints the line."""
        click.echo(f"hookwire: error: {self.message}", file=file, err=file is None)


class RunFailure(Failure):
    """The same, for a run that failed on the way."""

    exit_code = 1


def refuse(message: str) -> NoReturn:
    """Ends the command before anything ran.

    Raises:
        Failure: always.
    """
    raise Failure(message)


@contextmanager
def reported() -> Iterator[None]:
    """Reports the package's errors and every warning inside the block."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", errors.HookwireWarning)
        warnings.showwarning = _show_warning
        try:
            yield
        except errors.HookwireError as error:
            kind = RunFailure if isinstance(error, _FAILURES) else Failure
            raise kind(str(error)) from None


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    click.echo(f"hookwire: warning: {' '.join(str(message).split())}", err=True)
