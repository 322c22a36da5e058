"""`patch`: finds where the toy keeps who gives."""

from __future__ import annotations

from pathlib import Path

import hookwire
import numpy as np
import pytest
from hookwire import ops
from hookwire.recipes import patching

from tests.cli.conftest import Command, is_png
from tests.cli.sentences import CLEAN, CORRUPTED, GIVER


def difference(model: hookwire.RemoteModel, hook: str, op: ops.Op) -> float:
    """Mary − John of the patched row, from the logits."""
    logits = model.run_with_hooks([CLEAN, CORRUPTED], fwd_hooks=[(hook, op)], logits_pos=-1)
    mary, john = (model.to_single_token(name) for name in ("Mary", "John"))
    return float(logits[1, 0, mary] - logits[1, 0, john])


def test_it_finds_the_giver(command: Command) -> None:
    told = command("--json", "patch", CLEAN, CORRUPTED).json
    assert (told["answer"]["word"], told["against"]["word"]) == ("Mary", "John")
    # The toy's README says these numbers, of a model run by Transformers.
    assert told["clean"]["value"] == pytest.approx(9.8, abs=0.05)
    assert told["corrupted"]["value"] == pytest.approx(-7.0, abs=0.05)
    values = np.array(told["values"])  # [layer, pos]
    assert values.shape == (6, 15)
    assert told["hooks"] == [f"blocks.{layer}.hook_resid_pre" for layer in range(6)]
    assert values.argmax(1).tolist() == [GIVER, GIVER, GIVER + 2, GIVER + 2, 14, 14]
    best = [9.8, 9.6, 9.8, 9.8, 9.3, 9.8]
    np.testing.assert_allclose(values.max(1), best, atol=0.05)
    assert told["clean"]["words"][GIVER] == "John"
    assert told["corrupted"]["words"][GIVER] == "Mary"


def test_each_value_is_that_of_a_run_with_one_patch(
    command: Command, model: hookwire.RemoteModel
) -> None:
    told = command("--json", "patch", CLEAN, CORRUPTED, "--layers", "1,4", "--at", "10,-1").json
    assert (told["layers"], told["positions"]) == ([1, 4], [10, 14])
    for row, layer in enumerate((1, 4)):
        for column, pos in enumerate((10, 14)):
            hook = f"blocks.{layer}.hook_resid_pre"
            want = difference(model, hook, ops.copy(from_row=0, row=1, pos=pos))
            assert told["values"][row][column] == pytest.approx(want, abs=1e-4)


def test_heads(command: Command, model: hookwire.RemoteModel) -> None:
    told = command("--json", "patch", CLEAN, CORRUPTED, "--hook", "z", "--by", "head").json
    assert told["heads"] == [0, 1, 2, 3]
    assert told["hooks"][5] == "blocks.5.attn.hook_z"
    for layer, head in ((2, 1), (5, 3)):
        hook = f"blocks.{layer}.attn.hook_z"
        want = difference(model, hook, ops.copy(from_row=0, row=1, head=head))
        assert told["values"][layer][head] == pytest.approx(want, abs=1e-4)


def test_metrics(command: Command, model: hookwire.RemoteModel) -> None:
    told = {
        name: command("--json", "patch", CLEAN, CORRUPTED, "--metric", name, "--layers", "0").json
        for name in ("logit-diff", "recovered", "log-prob", "prob")
    }
    plain = told["logit-diff"]
    clean, corrupted = plain["clean"]["value"], plain["corrupted"]["value"]
    scaled = (np.array(plain["values"]) - corrupted) / (clean - corrupted)
    np.testing.assert_allclose(told["recovered"]["values"], scaled, atol=1e-6)
    assert told["recovered"]["clean"]["value"] == 1
    assert told["recovered"]["corrupted"]["value"] == 0
    want = model.log_probs([CLEAN, CORRUPTED], "Mary")[:, 0]
    assert told["log-prob"]["clean"]["value"] == pytest.approx(want[0], abs=1e-5)
    assert told["log-prob"]["corrupted"]["value"] == pytest.approx(want[1], abs=1e-5)
    np.testing.assert_allclose(told["prob"]["values"], np.exp(told["log-prob"]["values"]))


def test_words_can_be_named(command: Command) -> None:
    forward = command("--json", "patch", CLEAN, CORRUPTED, "--layers", "0").json
    turned = command(
        "--json",
        "patch",
        CLEAN,
        CORRUPTED,
        "--layers",
        "0",
        "--answer",
        "John",
        "--against",
        "Mary",
    ).json
    np.testing.assert_allclose(turned["values"], -np.array(forward["values"]), atol=1e-6)


def test_a_sweep_that_is_too_long_for_one_run_is_divided(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = command("--json", "patch", CLEAN, CORRUPTED).json["values"]
    monkeypatch.setattr(patching, "_rows_a_run", lambda *_: 4)
    divided = command("--json", "patch", CLEAN, CORRUPTED).json["values"]
    np.testing.assert_allclose(divided, whole, atol=1e-5)


def test_hooks_are_found_by_short_name_glob_or_name(command: Command) -> None:
    for hook, count in (("k", 4), ("blocks.*.mlp.hook_out", 6), ("blocks.3.hook_attn_out", 1)):
        told = command("--json", "patch", CLEAN, CORRUPTED, "--hook", hook, "--at", "-1").json
        assert len(told["values"]) == count, hook


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((CLEAN, "Tom gave a drink to"), "clean has 15 tokens and corrupted 6"),
        ((CLEAN, CLEAN), "both words are 'Mary'"),
        ((CLEAN, CORRUPTED, "--hook", "blocks.5.attn.hook_k"), "keys are blocks.2.attn.hook_k"),
        ((CLEAN, CORRUPTED, "--hook", "resid_prae"), "resid_prae"),
        ((CLEAN, CORRUPTED, "--hook", "embed.hook_in"), "cannot be written"),
        ((CLEAN, CORRUPTED, "--by", "head"), "has no heads"),
        ((CLEAN, CORRUPTED, "--layers", "6"), "layer 6 is outside the 6"),
        ((CLEAN, CORRUPTED, "--answer", "Mary John"), "not a single token"),
        ((CLEAN, CORRUPTED, "-o", "map.bmp"), "a picture is .png"),
        ((CLEAN, CORRUPTED, "-o", "no/map.png"), "no folder"),
    ],
)
def test_what_cannot_be_patched_is_said_in_a_line(
    command: Command, arguments: tuple[str, ...], says: str
) -> None:
    told = command("patch", *arguments)
    assert (told.status, told.out) == (2, "")
    assert says in told.err
    assert told.err.count("\n") == 1


def test_the_map_in_a_pipe(command: Command) -> None:
    told = command("--json", "patch", CLEAN, CORRUPTED).json
    lines = command("patch", CLEAN, CORRUPTED).out.splitlines()
    assert lines[0] == "logit(Mary) - logit(John): clean +9.82, corrupted -7.00"
    assert lines[2].split() == ["0", "1", "2", "3", "4", "5"]
    for number, word in enumerate(told["corrupted"]["words"]):
        shown = [f"{row[number]:+.2f}" for row in told["values"]]
        assert lines[3 + number].split() == [word, *shown]
    best = told["largest"]
    place = f"position {best['pos']} ({told['corrupted']['words'][best['pos']]})"
    assert lines[-1] == f"largest: {best['hook']} at {place}: {best['value']:+.2f}"
    assert best["value"] == np.max(told["values"])


def test_the_map_on_a_terminal(terminal: Command) -> None:
    wide = terminal("patch", CLEAN, CORRUPTED).out
    assert "\x1b[30;48;2;255;6" in wide  # red, the strongest
    assert "\x1b[30;48;2;255;255;255m -7.00" in wide  # white, no effect
    assert wide.count("drink") == 1
    narrow = terminal("patch", CLEAN, CORRUPTED, columns=40).out
    assert narrow.count("drink") == 2  # in two parts


def test_the_picture(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "map.png"
    told = command("patch", CLEAN, CORRUPTED, "-o", str(path))
    assert told.out.splitlines()[-1] == str(path)
    assert is_png(path)
