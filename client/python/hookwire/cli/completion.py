"""`hookwire completion`, and the completion of hook points."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import click
from click.shell_completion import get_completion_class

from hookwire import errors, tab
from hookwire.cli import failure, settings
from hookwire.tab import names

SHELLS = ("bash", "zsh", "fish")
_VARIABLE = "_HOOKWIRE_COMPLETE"
# Who presses Tab does not wait longer.
_SECONDS = 1.0

_EXAMPLES = """
bash    eval "$(hookwire completion bash)"         in ~/.bashrc
zsh     eval "$(hookwire completion zsh)"          in ~/.zshrc
fish    hookwire completion fish | source          in ~/.config/fish/config.fish
"""


@click.command(
    "completion", epilog=settings.help_end(_EXAMPLES, "Once, or in the shell's start-up file")
)
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def command(context: click.Context, shell: str) -> None:
    """Print a script for the shell's Tab key.

    With the script, the key completes commands, options and the server's hook points.
    """
    kind = get_completion_class(shell)
    if kind is None:
        failure.refuse(f"there is no completion for {shell}")
    source = kind(context.find_root().command, {}, "hookwire", _VARIABLE).source()
    click.echo(_without_waiting(source, shell))


def _without_waiting(source: str, shell: str) -> str:
    """A script that runs `hookwire.tab` in place of the whole command."""
    program = Path(tab.__file__).with_name("__main__.py")
    quick = f"{shlex.quote(sys.executable)} {shlex.quote(str(program))}"
    usual = "$1" if shell == "bash" else "hookwire"
    return re.sub(
        rf"(_HOOKWIRE_COMPLETE={shell}_complete .*?){re.escape(usual)}\)",
        lambda found: f"{found[1]}{quick})",
        source,
        count=1,
    )


def complete_hooks(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[str]:
    """The names of hook points for a word; none if no server answers at once."""
    del parameter
    try:
        with context.ensure_object(settings.Settings).connect(timeout=_SECONDS) as model:
            return names.matching(model.hook_names(), incomplete)
    except (errors.HookwireError, click.ClickException):
        return []
