"""`info`, `hooks` and `plan`: what is there, without a run."""

from __future__ import annotations

import dataclasses

import hookwire
import pytest

from tests.cli.conftest import Command
from tests.cli.sentences import CLEAN


def test_info_has_the_models_configuration(command: Command, model: hookwire.RemoteModel) -> None:
    told = command("--json", "info").json
    assert told["model"]["n_layers"] == 6
    assert told["model"]["weights_digest"] == model.cfg.weights_digest
    assert told["model"]["layers"] == [dataclasses.asdict(layer) for layer in model.cfg.layers]
    assert told["server"]["numerics"] == "reference"
    assert told["server"]["capabilities"] == sorted(model.server.capabilities)
    assert told["load"]["running_runs"] == 0


def test_info_is_plain_in_a_pipe(command: Command, model: hookwire.RemoteModel) -> None:
    told = command("info", "--layers")
    assert told.status == 0
    assert "\x1b" not in told.out
    assert f"{model.cfg.n_params:,}" in told.out
    assert model.cfg.weights_digest in told.out
    assert "0 runs, 0 waiting, 0 B to be read" in told.out
    table = told.out[told.out.index("layer  attention") :].splitlines()
    assert len(table) == 1 + 6
    assert table[6].split()[:6] == ["5", "full", "4", "2", "32", "384"]
    assert table[6].endswith("layer 2")


def test_info_is_in_colour_on_a_terminal(terminal: Command) -> None:
    assert "\x1b[36m" in terminal("info", "--layers").out


def test_hooks_lists_every_hook_point(command: Command, model: hookwire.RemoteModel) -> None:
    told = command("--json", "hooks").json["hooks"]
    assert [hook["name"] for hook in told] == model.hook_names(aliases=False)
    by_name = {hook["name"]: hook for hook in told}
    z = by_name["blocks.2.attn.o.hook_in"]
    assert z["aliases"] == ["blocks.2.attn.hook_z"]
    assert (z["shape"], z["axes"]) == (["pos", 4, 32], ["pos", "head", "d_head"])
    assert not by_name["embed.hook_in"]["writable"]
    assert by_name["embed.hook_in"]["read_only_reason"]


@pytest.mark.parametrize(
    ("filter_", "count"),
    [("blocks.*.hook_resid_post", 6), ("blocks.3.attn.hook_z", 1), ("hook_pattern", 6)],
)
def test_hooks_takes_a_glob_an_alias_or_a_part(command: Command, filter_: str, count: int) -> None:
    lines = command("hooks", filter_).out.splitlines()
    assert lines[0].split() == ["name", "shape", "dtype", "access", "aliases"]
    assert len(lines) == 1 + count


def test_hooks_is_a_tree_on_a_terminal(terminal: Command) -> None:
    told = terminal("hooks", "blocks.*.attn.*")
    # Full attention has wider heads, and the last two layers have no keys of their own.
    for alike in ("blocks.{0, 1, 3}", "blocks.2", "blocks.4", "blocks.5"):
        assert alike in told.out
    assert "hook_pattern" in told.out
    assert "[4, pos, key_pos]" in told.out
    each = terminal("hooks", "--each", "blocks.*.attn.*")
    assert all(f"blocks.{layer}\x1b" in each.out for layer in range(6))


def test_a_misspelt_filter_is_an_error_with_the_nearest_name(command: Command) -> None:
    told = command("hooks", "blocks.1.hook_resid_prae")
    assert (told.status, told.out) == (2, "")
    assert told.err.startswith("hookwire: error: ")
    assert "blocks.1.hook_resid_pre" in told.err


def test_an_absent_hook_point_is_an_error_with_the_reason(command: Command) -> None:
    told = command("hooks", "blocks.5.attn.hook_k")
    assert told.status == 2
    assert "layer 5 reuses the keys and values of layer 2" in told.err


def test_plan_says_what_the_run_will_send(command: Command, model: hookwire.RemoteModel) -> None:
    arguments = (CLEAN, "-c", "blocks.*.attn.hook_pattern", "-c", "embed.hook_out", "--pos", "2:5")
    told = command("--json", "plan", *arguments).json
    want = model.plan(
        CLEAN,
        ["blocks.*.attn.hook_pattern", "embed.hook_out"],
        pos_slice=slice(2, 5),
        logits_pos=-1,
    )
    assert told["total_bytes"] == want.total_bytes
    assert [tensor["name"] for tensor in told["tensors"]] == [t.name for t in want.tensors]
    assert told["tensors"][-1]["shape"] == [1, 1, 59]
    ran = command("--json", "run", *arguments).json
    assert ran["receipt"]["bytes"] == told["total_bytes"]
    text = command("plan", *arguments).out
    assert "1×4×3×15" in text
    assert f"{want.total_tokens} tokens through 6 layers" in text
