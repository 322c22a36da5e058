"""The command as a whole: help, errors, entry points, completion, measurements."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import hookwire
import pytest
from click.shell_completion import ShellComplete
from hookwire.cli import cli, failure

from tests.cli.conftest import Command, invoke
from tests.cli.sentences import CLEAN
from tests.client.fake_server import FakeServer

SUBCOMMANDS = ("info", "hooks", "run", "plan", "patch", "lens", "bench", "completion")


@pytest.fixture
def faulty() -> Iterator[FakeServer]:
    server = FakeServer()
    yield server
    server.stop()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def test_help_lists_every_command_with_examples() -> None:
    told = invoke("--help")
    assert told.status == 0
    for name in SUBCOMMANDS:
        assert f"\n  {name} " in told.out
        assert invoke(name, "--help").out.startswith(f"Usage: hookwire {name} ")
    for word in ("Examples:", "Exit status:", "HOOKWIRE_SERVER", "127.0.0.1:7431"):
        assert word in told.out
    assert "Examples:\n    hookwire lens" in invoke("lens", "--help").out


def test_version() -> None:
    assert invoke("--version").out == f"hookwire {hookwire.__version__}\n"


def test_no_server_is_one_line_and_status_2() -> None:
    address = f"127.0.0.1:{free_port()}"
    for arguments in (("info",), ("run", CLEAN), ("bench",)):
        told = invoke("--server", address, *arguments)
        assert (told.status, told.out) == (2, "")
        assert told.err.startswith(f"hookwire: error: no Hookwire server answers at {address}")
        assert told.err.count("\n") == 1


def test_what_is_no_address_is_said() -> None:
    told = invoke("--server", "nowhere", "info")
    assert told.status == 2
    assert 'an address is "host:port"' in told.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("run", "-c", "blocks.1.hook_resid_prae", CLEAN), "blocks.1.hook_resid_pre"),
        (("run", "-c", "blocks.5.attn.hook_k", CLEAN), "its keys are blocks.2.attn.hook_k"),
        (("run", "-c", "blocks.*.router.*", CLEAN), "blocks.*.router.*"),
        (("run", "Mary " * 200), "201"),
        (("run", "--no-bos", ""), "the prompt is empty"),
        (("run", "--ids", "2,x"), "not a list of token ids"),
        (("run", "--ids", "2,59"), "token id 59 is outside the 59"),
        (("run", "--ids", "2,-1"), "not a list of token ids"),
        (("run", "--pos", "15", "-c", "hook_embed", CLEAN), "position 15 is outside the 15"),
        (("plan", "-c", "blocks.9.hook_out", CLEAN), "layers 0 to 5"),
        (("lens", "--layers", "6", CLEAN), "layer 6 is outside the 6"),
        (("lens", "--layers", "4:4", CLEAN), "selects no layer"),
        (("bench", "--tokens", "129"), "128 tokens"),
    ],
)
def test_a_request_that_cannot_be_right_is_one_line_and_status_2(
    command: Command, arguments: tuple[str, ...], says: str
) -> None:
    told = command(*arguments)
    assert (told.status, told.out) == (2, "")
    assert told.err.startswith("hookwire: error: ")
    assert says in told.err
    assert told.err.count("\n") == 1


def test_wrong_usage_is_one_line_and_status_2(command: Command) -> None:
    for arguments in (("run",), ("lens", "--pos", "a", CLEAN), ("patch", CLEAN), ("rum", CLEAN)):
        told = command(*arguments)
        assert (told.status, told.out) == (2, "")
        assert told.err.startswith("hookwire: error: ")
        assert told.err.count("\n") == 1
        assert " --help" in told.err
    told = command("run", CLEAN, "--stop-at-layer", "2", "--logits", "all")
    assert told.status == 2


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (hookwire.InternalServerError, 1),
        (hookwire.ServerOutOfMemoryError, 1),
        (hookwire.DeadlineError, 1),
        (hookwire.IncompleteResultError, 1),
        (hookwire.QueueFullError, 1),
        (hookwire.ResultTooLargeError, 2),
        (hookwire.UnavailableError, 2),
    ],
)
def test_exit_status(error: type[hookwire.HookwireError], status: int) -> None:
    with pytest.raises(failure.Failure) as caught, failure.reported():
        raise error("two\nlines")
    assert caught.value.exit_code == status
    assert caught.value.message == "two lines"


def test_a_run_that_fails_on_the_way_is_status_1(faulty: FakeServer, tmp_path: Path) -> None:
    path = tmp_path / "acts.safetensors"
    arguments = ("run", "--ids", "1,2", "-c", "hook_embed", "-o", str(path))
    assert invoke("--server", faulty.address, *arguments).status == 0
    path.unlink()
    faulty.faults.add("no receipt")
    told = invoke("--server", faulty.address, *arguments)
    assert told.status == 1
    assert told.err.startswith("hookwire: error: ")
    assert told.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_without_a_tokenizer_ids_are_the_words(faulty: FakeServer) -> None:
    told = invoke("--server", faulty.address, "--json", "run", "--ids", "1,2").json
    assert told["prompt"] == {"ids": [1, 2], "words": ["1", "2"]}
    assert told["next"][0]["word"] == str(told["next"][0]["id"])
    refused = invoke("--server", faulty.address, "run", "text")
    assert refused.status == 2
    assert "tokenizer" in refused.err


def test_warnings_are_lines_on_standard_error(command: Command) -> None:
    huge = ("--ids", ",".join(["3"] * 128), "-c", "**", "--logits", "all")
    told = command("--json", "run", *huge)
    assert told.json["receipt"]["bytes"] > 0
    assert all(line.startswith("hookwire: warning: ") for line in told.err.splitlines())


def test_options_stand_before_or_behind_the_command(server: str) -> None:
    nowhere = f"127.0.0.1:{free_port()}"
    for arguments in (
        ("--server", server, "--json", "info"),
        ("info", "--server", server, "--json"),
        ("--server", nowhere, "info", "--json", "--server", server),
    ):
        assert invoke(*arguments).json["model"]["n_layers"] == 6
    assert invoke("--json", "info", HOOKWIRE_SERVER=server).json["server"]["address"] == server


@pytest.mark.parametrize("entry", ["script", "module"])
def test_the_entry_points(server: str, entry: str) -> None:
    script = shutil.which("hookwire", path=str(Path(sys.executable).parent))
    assert script is not None, "the package is installed without its command"
    start = [script] if entry == "script" else [sys.executable, "-m", "hookwire"]
    environment = {**os.environ, "HOOKWIRE_SERVER": server}
    told = subprocess.run(
        [*start, "info", "--json"], capture_output=True, text=True, check=True, env=environment
    )
    assert json.loads(told.stdout)["model"]["d_vocab"] == 59
    assert told.stderr == ""
    failed = subprocess.run(
        [*start, "hooks", "no_such"], capture_output=True, text=True, check=False, env=environment
    )
    assert (failed.returncode, failed.stdout) == (2, "")
    assert failed.stderr.count("\n") == 1


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: str) -> None:
    told = invoke("completion", shell)
    assert told.status == 0
    assert f"_HOOKWIRE_COMPLETE={shell}_complete" in told.out


def test_completion_knows_commands_and_hook_points(
    server: str, model: hookwire.RemoteModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOOKWIRE_SERVER", server)
    complete = ShellComplete(cli, {}, "hookwire", "_HOOKWIRE_COMPLETE")

    def found(arguments: list[str], incomplete: str) -> list[str]:
        return [item.value for item in complete.get_completions(arguments, incomplete)]

    assert found([], "pl") == ["plan"]
    assert "--capture" in found(["run"], "--")
    want = [name for name in model.hook_names() if name.startswith("blocks.3.attn.hook_")]
    assert found(["run", "-c"], "blocks.3.attn.hook_") == want
    assert found(["hooks"], "blocks.3.attn.hook_") == want
    monkeypatch.setenv("HOOKWIRE_SERVER", f"127.0.0.1:{free_port()}")
    assert found(["hooks"], "blocks.3.attn.hook_") == []


def test_bash_completes(server: str) -> None:
    folder = str(Path(sys.executable).parent)
    script = """
        eval "$(hookwire completion bash)"
        COMP_WORDS=(hookwire run -c blocks.3.attn.hook_pa) COMP_CWORD=3
        _hookwire_completion hookwire
        echo "${COMPREPLY[@]}"
    """
    environment = {
        **os.environ,
        "HOOKWIRE_SERVER": server,
        "PATH": f"{folder}:{os.environ['PATH']}",
    }
    told = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, check=True, env=environment
    )
    assert told.stdout == "blocks.3.attn.hook_pattern\n"


def test_bench_measures_this_server(command: Command) -> None:
    told = command("--json", "bench", "--repeat", "3", "--clients", "2", "--tokens", "8").json
    calls = {call["name"]: call for call in told["calls"]}
    assert len(calls) == 4
    for call in calls.values():
        assert call["runs"] == 3
        assert 0 < call["median_ms"] <= call["p90_ms"]
    assert calls["blocks.3.hook_out"]["bytes"] == 8 * 64 * 4
    assert calls["blocks.*.hook_out"]["bytes"] == 6 * 8 * 64 * 4
    assert calls["blocks.*.hook_out"]["compute_ms"] < calls["blocks.*.hook_out"]["median_ms"]
    load = told["load"]
    assert (load["clients"], load["runs"]) == (2, 6)
    assert load["runs_per_second"] == pytest.approx(6 / load["seconds"])
    assert load["tokens_per_second"] == pytest.approx(48 / load["seconds"])
    text = command("bench", "--repeat", "2", "--clients", "1").out
    assert "16 tokens" in text
    assert "1 clients at once" in text
