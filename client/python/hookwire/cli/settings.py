"""What every command takes: which server, and whether the answer is for people or for scripts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, TypeVar

import click

import hookwire
from hookwire import errors
from hookwire.cli import failure
from hookwire.cli.show import Output
from hookwire.wire import rpc

F = TypeVar("F", bound=Callable[..., Any])
SERVER = "HOOKWIRE_SERVER"
"""The environment variable in place of `--server`."""


@dataclass
class Settings:
    """The options that stand before or after a command's name; the latter win.

    Attributes:
        server: the server's address.
        json: write JSON.
    """

    server: str = rpc.DEFAULT_ADDRESS
    json: bool = False

    def connect(self, timeout: float = 5.0) -> hookwire.RemoteModel:
        """The model that the server holds, with NumPy arrays as results.

        Raises:
            Failure: this is no address.
            HookwireError: no server answers there.
        """
        try:
            return hookwire.connect(self.server, tensors="numpy", timeout=timeout, quiet=True)
        except errors.UnavailableError as error:
            failure.refuse(f"{error.message}. Start hookwired, or name another with --server")
        except ValueError as error:
            failure.refuse(str(error))

    def output(self) -> Output:
        """Where the answer goes."""
        return Output(self.json)


def _keep(context: click.Context, option: click.Parameter, value: Any) -> None:
    """Takes note of an option that was given, an empty address included."""
    if value is not None and value is not False:
        setattr(context.ensure_object(Settings), option.name or "", value)


def options(*, in_front: bool = False) -> Callable[[F], F]:
    """Adds the options to a command.

    Args:
        in_front: they stand before the name of a subcommand, and have their defaults here.
    """

    def add(command: F) -> F:
        server = click.option(
            "--server",
            metavar="HOST:PORT",
            envvar=SERVER if in_front else None,
            show_envvar=True,
            default=rpc.DEFAULT_ADDRESS if in_front else None,
            show_default=in_front,
            expose_value=False,
            callback=_keep,
            help="The address of the server.",
        )
        as_json = click.option(
            "--json",
            is_flag=True,
            expose_value=False,
            callback=_keep,
            help="Write one JSON document, and nothing else.",
        )
        return server(as_json(command))

    return add


def help_end(text: str, title: str = "Examples") -> str:
    """Lines of examples as the end of a help text."""
    lines = (f"  {line}" for line in text.strip().splitlines())
    # After a backspace, click leaves lines as they are.
    return "\b\n" + "\n".join([f"{title}:", *lines])


def subcommand(name: str, examples: str) -> Callable[[Callable[..., None]], click.Command]:
    """Makes a command whose function gets the `Settings` first.

    Args:
        name: the command's.
        examples: one a line, for the end of its help.
    """

    def make(function: Callable[..., None]) -> click.Command:
        @wraps(function)
        @click.pass_context
        def with_settings(context: click.Context, *args: Any, **kwargs: Any) -> None:
            function(context.ensure_object(Settings), *args, **kwargs)

        return click.command(name, epilog=help_end(examples))(options()(with_settings))

    return make
