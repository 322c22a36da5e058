"""Completes one command line: what the scripts of `hookwire completion` run at each press of Tab.

It is run by its path. The package's own `__init__` would load NumPy, torch's types and a dozen
modules first, which takes longer than all of this.
"""

from __future__ import annotations

import os
import sys
import types
from pathlib import Path
from typing import Any

import click
from click.shell_completion import shell_complete

VARIABLE = "_HOOKWIRE_COMPLETE"
# Who presses Tab does not wait longer.
SECONDS = 1.0


def without_the_package() -> None:
    """Lets modules of the package be imported without its `__init__`."""
    if "hookwire" not in sys.modules:
        package = types.ModuleType("hookwire")
        package.__path__ = [str(Path(__file__).resolve().parents[1])]
        sys.modules["hookwire"] = package


def hooks(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """The names of hook points for a word; none if no server answers at once."""
    del parameter
    from hookwire.tab import names

    at: click.Context | None = context
    while at is not None and not at.params.get("server"):
        at = at.parent
    try:
        return names.matching(_hook_points(at.params["server"] if at else ""), incomplete)
    except Exception:  # whatever gRPC says: there is nothing to offer
        return []


def _hook_points(address: str) -> list[str]:
    os.environ["GRPC_VERBOSITY"] = "NONE"
    import grpc

    from hookwire._proto import service_pb2

    options = [("grpc.enable_http_proxy", 0), ("grpc.max_receive_message_length", -1)]
    with grpc.insecure_channel(address, options) as channel:
        ask = channel.unary_unary(
            "/hookwire.v1.ActivationService/ListHooks",
            request_serializer=service_pb2.ListHooksRequest.SerializeToString,
            response_deserializer=service_pb2.ListHooksResponse.FromString,
        )
        found = ask(service_pb2.ListHooksRequest(), timeout=SECONDS).hooks
    return [name for point in found for name in (point.name, *point.aliases)]


def parameter(entry: dict[str, Any]) -> click.Parameter:
    """An option or an argument as the table has it."""
    kind: Any = click.STRING
    if entry.get("choices"):
        kind = click.Choice(entry["choices"])
    elif entry.get("file"):
        kind = click.Path(dir_okay=False)
    more: dict[str, Any] = {"shell_complete": hooks} if entry.get("hooks") else {}
    if "opts" not in entry:
        return click.Argument([entry["name"]], type=kind, nargs=entry.get("nargs", 1), **more)
    given = [*entry["opts"]]
    if entry.get("off"):
        given[-1] = f"{given[-1]}/{entry['off'][0]}"
    if entry.get("flag"):
        more["is_flag"] = True
    else:
        more["type"] = kind
    for name in ("help", "envvar", "default", "multiple"):
        if name in entry:
            more[name] = entry[name]
    return click.Option([entry["name"], *given], **more)


def group() -> click.Group:
    """The commands, as far as completing them needs."""
    from hookwire.tab.commands import COMMANDS

    settings: Any = {"help_option_names": ["-h", "--help"]}
    top = _InOrder("hookwire", context_settings=settings)
    top.params = [parameter(entry) for entry in COMMANDS[""]["params"]]
    for name, entry in COMMANDS.items():
        if name:
            params = [parameter(one) for one in entry["params"]]
            top.add_command(click.Command(name, params=params, short_help=entry["help"]))
    return top


class _InOrder(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


def main() -> int:
    """Writes what the Tab key offers; the exit status."""
    return shell_complete(group(), {}, "hookwire", VARIABLE, os.environ.get(VARIABLE, ""))


if __name__ == "__main__":
    without_the_package()
    sys.exit(main())
