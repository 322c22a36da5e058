"""The Tab key: the same as the commands themselves would say, without importing them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import hookwire
import pytest
from click.shell_completion import CompletionItem, ShellComplete
from hookwire import tab
from hookwire.cli import cli
from hookwire.tab import __main__ as quick
from hookwire.tab.names import matching

from tests.cli.conftest import invoke
from tests.client.fake_server import FakeServer

PROGRAM = Path(tab.__file__).with_name("__main__.py")
ROOT = Path(__file__).resolve().parents[2]
NAMES = [
    "hook_embed",
    *(
        f"blocks.{layer}.{name}"
        for layer in range(12)
        for name in ("hook_resid_pre", "attn.hook_pattern", "hook_resid_post")
    ),
    "ln_final.hook_scale",
]


def offered(group: click.Group, arguments: list[str], incomplete: str) -> list[tuple[str, ...]]:
    def shown(item: CompletionItem) -> tuple[str, ...]:
        return (str(item.value), item.type, item.help or "")

    complete = ShellComplete(group, {}, "hookwire", "_HOOKWIRE_COMPLETE")
    return [*map(shown, complete.get_completions(arguments, incomplete))]


def lines() -> list[tuple[list[str], str]]:
    """Command lines at which somebody may press Tab: at each option of each command, and more."""
    found: list[tuple[list[str], str]] = [([], ""), ([], "-"), ([], "pl"), (["--json"], "")]
    for name, command in cli.commands.items():
        found += [([name], ""), ([name], "-"), ([name], "--c"), ([name, "x", "y"], "--")]
        for one in command.params:
            if not one._custom_shell_complete:
                found += [([name, option], "") for option in getattr(one, "opts", ())]
                found += [([name, option, "a"], "--") for option in getattr(one, "opts", ())]
    return found


def test_it_offers_what_the_commands_would() -> None:
    group = quick.group()
    for arguments, incomplete in lines():
        ours = offered(group, arguments, incomplete)
        assert ours == offered(cli, arguments, incomplete), (arguments, incomplete)


def test_what_is_committed_is_fresh() -> None:
    script = ROOT / "client" / "python" / "generate_completion.py"
    done = subprocess.run(
        [sys.executable, script, "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    server = FakeServer()
    yield server
    server.stop()


def run(words: str, index: int, **environment: str) -> subprocess.CompletedProcess[str]:
    """The program, as bash calls it; it fails if it imports what takes long."""
    heavy = ("numpy", "torch", "ml_dtypes", "rich", "hookwire.errors")
    code = (
        f"import runpy, sys; sys.modules |= dict.fromkeys({heavy}); "
        f"runpy.run_path({str(PROGRAM)!r}, run_name='__main__')"
    )
    variables = {"COMP_WORDS": words, "COMP_CWORD": str(index)}
    variables |= {"_HOOKWIRE_COMPLETE": "bash_complete"} | environment
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | variables,
    )


def test_nothing_heavy_is_imported(fake: FakeServer) -> None:
    told = run("hookwire ru", 1)
    assert (told.stdout, told.stderr) == ("plain,run\n", "")
    told = run(f"hookwire --server {fake.address} run -c blocks.1.hook_i", 5)
    assert (told.stdout, told.stderr) == ("plain,blocks.1.hook_in\n", "")
    told = run("hookwire hooks pattern", 2, HOOKWIRE_SERVER=fake.address)
    assert (told.stdout, told.stderr) == ("plain,blocks.*.attn.hook_pattern\n", "")
    told = run(f"hookwire hooks --server {fake.address} blocks.2.pat", 4)
    assert told.stdout == "plain,blocks.2.attn.hook_pattern\n"


def test_no_server_is_no_offer_and_no_word() -> None:
    told = run("hookwire hooks pattern", 2, HOOKWIRE_SERVER="127.0.0.1:1")
    assert (told.stdout, told.stderr) == ("\n", "")
    told = run("hookwire hooks pattern", 2, HOOKWIRE_SERVER="nonsense")
    assert (told.stdout, told.stderr) == ("\n", "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_scripts_run_it(shell: str) -> None:
    told = invoke("completion", shell)
    assert f"{sys.executable} {PROGRAM})" in told.out


@pytest.mark.parametrize(
    ("word", "offer"),
    [
        ("hook_e", ["hook_embed"]),
        ("blocks.3.", [f"blocks.3.{n}" for n in ("hook_resid_pre", "attn.hook_pattern")]
         + ["blocks.3.hook_resid_post"]),
        ("pattern", ["blocks.*.attn.hook_pattern"]),
        ("resid", ["blocks.*.hook_resid_pre", "blocks.*.hook_resid_post"]),
        ("scale", ["ln_final.hook_scale"]),
        ("blocks.3.pattern", ["blocks.3.attn.hook_pattern"]),
        ("blocks.11.resid_p", ["blocks.11.hook_resid_pre", "blocks.11.hook_resid_post"]),
        ("blocks.*.attn.", ["blocks.*.attn.hook_pattern"]),
        ("blocks.*.pat", ["blocks.*.attn.hook_pattern"]),
        ("attn.hook_p", ["blocks.*.attn.hook_pattern"]),
        ("blocks.99.pattern", []),
        ("nothing", []),
        ("", NAMES),
    ],
)  # fmt: skip
def test_parts_of_names(word: str, offer: list[str]) -> None:
    assert matching(NAMES, word) == offer


def test_both_ways_offer_the_same_hook_points(
    fake: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOOKWIRE_SERVER", fake.address)
    with hookwire.connect(fake.address, tensors="numpy", quiet=True) as model:
        assert len(model.hook_names()) > 10
    group = quick.group()
    for arguments in (["hooks"], ["run", "-c"], ["patch", "--hook"]):
        for word in ("blocks.1.", "pattern", ""):
            ours = offered(group, arguments, word)
            assert ours
            assert ours == offered(cli, arguments, word)
