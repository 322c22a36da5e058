"""The command `hookwire`: the package from a shell.

A module a subcommand, with `command` in it; `settings` (what all of them take), `prompts` and
`places` (what users write), `show` (what they read) and `failure` (what went wrong) are shared.
"""

from __future__ import annotations

import sys
from typing import Any

import click

import hookwire
from hookwire.cli import bench, completion, failure, hooks, info, lens, patch, plan, run, settings

HELP = """Look inside a language model that hookwired runs, on this machine or another.

\b
Examples:
  hookwire info                                   the model and the server
  hookwire hooks 'blocks.*.attn.hook_z'           its hook points, with shapes
  hookwire run "Mary gave a drink to" -c 'blocks.*.hook_resid_post' -o acts.safetensors
  hookwire plan "Mary gave a drink to" -c '**'    the same without running it: exact bytes
  hookwire lens "Mary gave a drink to" -o lens.png
  hookwire patch "John and Mary … John gave a drink to" \\
                 "John and Mary … Mary gave a drink to" -o patching.png
  hookwire --json info | jq .model.n_layers       for scripts
  eval "$(hookwire completion bash)"              completes commands, options and hook points

A filter is a hook point's name or alias, or a glob, in which * matches any characters except dots
and ** matches dots too. Quote it. On a terminal the answer has colours, in a pipe it is plain text.
With --json, standard output is one JSON document and nothing else.

\b
Exit status:
  0  success
  1  a run failed after it had started: the server had a fault, or the time limit had passed
  2  nothing ran: no server answered, or the request was wrong
  130  you pressed Ctrl-C
After a failure, one line on standard error says why.
"""


class _Commands(click.Group):
    """Turns every error into one line and an exit status; keeps the commands' order."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (KeyboardInterrupt, EOFError) as error:
            # click would write an empty line first.
            raise failure.Interrupted from error
        except BrokenPipeError as error:
            raise failure.PipeClosed from error

    def main(self, *args: Any, standalone_mode: bool = True, **more: Any) -> Any:
        """Runs what the arguments say, and exits with its status."""
        run: Any = super().main
        given = args[0] if args else more.get("args")
        status = failure.status_of(
            lambda: run(*args, standalone_mode=False, **more),
            sys.argv[1:] if given is None else given,
        )
        if standalone_mode:
            sys.exit(status)
        return status


@click.group(
    cls=_Commands,
    help=HELP,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@settings.options(in_front=True)
@click.version_option(hookwire.__version__, message="hookwire %(version)s")
def cli() -> None:
    """The group of all commands."""


for module in (info, hooks, run, plan, patch, lens, bench, completion):
    cli.add_command(module.command)


def main() -> None:
    """The entry point: runs what the command line says, and exits."""
    cli(prog_name="hookwire")
