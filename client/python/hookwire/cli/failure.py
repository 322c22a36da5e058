"""Errors and warnings as lines on standard error, with an exit status."""

from __future__ import annotations

import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import IO, Any, NoReturn

import click

from hookwire import errors

DEBUG = "HOOKWIRE_TRACEBACK"
"""The environment variable that lets an unexpected error through with its traceback."""
# What a shell says of a program that a signal has ended: 128 and the signal's number.
_INTERRUPTED = 130
_PIPE_CLOSED = 141

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
        _say(f"hookwire: error: {self.message}", file)


class RunFailure(Failure):
    """The same, for a run that failed on the way."""

    exit_code = 1


class Interrupted(Exception):  # noqa: N818 - it is no error
    """Ctrl-C."""


class PipeClosed(Exception):  # noqa: N818 - it is no error
    """Whoever read the output, such as `head`, has what it wants."""


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
            if os.environ.get(DEBUG):
                raise
            kind = RunFailure if isinstance(error, _FAILURES) else Failure
            raise kind(_as_options(str(error))) from None


# What the package's messages call what users of the command have options for.
_OPTIONS = {
    r"model\.hook_dict and the command hookwire hooks list": "hookwire hooks lists",
    r"\bstop_at_layer=": "--stop-at-layer ",
    r"\bstop_at_layer\b": "--stop-at-layer",
    r"\bnames_filter\b": "-c",
    r"\b(answer|against)=": r"--\1",
}


def _as_options(message: str) -> str:
    """A message of the package in the words of the command."""
    for argument, option in _OPTIONS.items():
        message = re.sub(argument, option, message)
    return message


def status_of(command: Callable[[], Any], arguments: Sequence[str]) -> int:
    """Runs a command, and says in one line on standard error what goes wrong.

    Args:
        command: gives an exit status, or None for 0.
        arguments: those that it was started with.

    Returns:
        The exit status: see `hookwire --help`.
    """
    try:
        with _writable_output(), reported():
            for argument in arguments:
                _check_text(argument)
            status = command()
            sys.stdout.flush()
            return status if isinstance(status, int) else 0
    except Failure as error:
        error.show()
        return error.exit_code
    except click.ClickException as error:
        if isinstance(error, getattr(click.exceptions, "NoArgsIsHelpError", ())):
            error.show()
            return 2
        Failure(_without_period(error.format_message()) + _help_for(error)).show()
        return 2
    except (Interrupted, click.Abort, KeyboardInterrupt):
        _say("hookwire: interrupted")
        return _INTERRUPTED
    except (PipeClosed, BrokenPipeError):
        _drop_output()
        return _PIPE_CLOSED
    except SystemExit as error:
        # rich and click end so when the pipe is closed.
        if error.code != 1:
            raise
        _drop_output()
        return _PIPE_CLOSED
    except OSError as error:
        _drop_output()
        Failure(f"the output cannot be written: {error}").show()
        return 2
    except Exception as error:
        if os.environ.get(DEBUG):
            raise
        RunFailure(
            f"unexpected {type(error).__name__}: {error}. {DEBUG}=1 shows where it comes from"
        ).show()
        return 1


def _check_text(argument: str) -> None:
    """Refuses an argument with bytes that are not UTF-8, which Python hides in half characters."""
    try:
        argument.encode()
    except UnicodeEncodeError:
        shown = argument.encode("utf-8", "surrogatepass").decode("utf-8", "backslashreplace")
        with suppress(UnicodeEncodeError):
            shown = os.fsencode(argument).decode("utf-8", "backslashreplace")
        refuse(
            f'the argument "{shown}" is not valid Unicode text: the bytes that are shown as \\x… '
            "are not UTF-8. If it comes from a file or a terminal of another encoding, convert it "
            "first, as with iconv"
        )


def _help_for(error: click.ClickException) -> str:
    """Where to read what a command takes."""
    context = getattr(error, "ctx", None)
    return "" if context is None else f"; see {context.command_path} --help"


def _without_period(text: str) -> str:
    return text.strip().removesuffix(".")


@contextmanager
def _writable_output() -> Iterator[None]:
    """Standard output that takes every character, whatever the terminal's encoding."""
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123 - it is the process's own
        raise Failure("standard output is closed")
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            with suppress(ValueError):
                stream.reconfigure(errors="backslashreplace")
    yield


def _drop_output() -> None:
    """Lets what is left in the buffer of standard output go, where Python would fail with it."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _say(line: str, file: IO[Any] | None = None) -> None:
    """A line on standard error, where there is one."""
    shown = line.encode("utf-8", "backslashreplace").decode()
    with suppress(OSError, ValueError):
        click.echo(shown, file=file, err=file is None)


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    _say(f"hookwire: warning: {' '.join(str(message).split())}")
