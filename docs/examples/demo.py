"""A tour of Hookwire on the bundled toy: run, capture, patch, compare.

    ./run demo

The toy is a Gemma 4 checkpoint that has learnt who the indirect object of a sentence is. With the
giver swapped, its answer turns round. Copying the residual stream from one prompt into the other,
one layer and one position at a time, shows where it keeps who gives and who receives.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
from pathlib import Path

import hookwire
import numpy as np
from daemon import daemon
from hookwire import ops, plot
from table import bold, print_table

ROOT = Path(__file__).resolve().parents[2]
TOY = ROOT / "toy" / "checkpoint"
THREADS = 2

CLEAN = "When Mary and John went to the store , John gave a drink to"
CORRUPTED = "When Mary and John went to the store , Mary gave a drink to"
ANSWER, OTHER = "Mary", "John"

numbers = itertools.count(1)


def heading(text: str) -> None:
    """Begins a section."""
    print(f"\n{bold(f'{next(numbers)}. {text}')}", flush=True)


def show_model(model: hookwire.RemoteModel) -> None:
    """What the daemon has loaded."""
    cfg, names = model.cfg, model.hook_names()
    print(
        f"  toy: Gemma 4 {cfg.variant}-type, {cfg.n_layers} layers, "
        f"{cfg.n_params / 1000:.0f} k parameters "
        f"(width {cfg.d_model}, {cfg.n_heads} heads, {cfg.d_vocab} words)"
    )
    print(f"  attention: {', '.join(kind.removesuffix('_attention') for kind in cfg.layer_types)}")
    print(f"  {len(names)} hook points, such as {', '.join(names[20:23])}")


def last_word(model: hookwire.RemoteModel, logits: np.ndarray, row: int) -> tuple[str, float]:
    """The most likely next word of a row, and logit(Mary) - logit(John)."""
    last = np.asarray(logits)[row, -1]  # [d_vocab]
    difference = last[model.to_single_token(ANSWER)] - last[model.to_single_token(OTHER)]
    return model.to_string([int(last.argmax())]), float(difference)


def show_prompts(model: hookwire.RemoteModel) -> list[float]:
    """Both prompts in one run; the server sends the last position's logits. Mary - John of each."""
    logits = model([CLEAN, CORRUPTED], logits_pos=-1)
    differences = []
    for row, prompt in enumerate((CLEAN, CORRUPTED)):
        word, difference = last_word(model, logits, row)
        print(f"  {prompt} → {bold(word)}   {ANSWER} - {OTHER}: {difference:+.1f}")
        differences.append(difference)
    return differences


def show_capture(model: hookwire.RemoteModel) -> None:
    """A run that returns what a filter names, and no logits."""
    wanted = ["blocks.*.hook_resid_post", "blocks.5.attn.hook_pattern"]
    _, cache = model.run_with_cache(CLEAN, names_filter=wanted, return_type=None)
    for name in ("blocks.0.hook_resid_post", "blocks.5.attn.hook_pattern"):
        print(f"  {name:27} {list(cache[name].shape)}")
    words = model.to_str_tokens(CLEAN)
    pattern = np.asarray(cache["pattern", 5])[0, :, -1]  # [head, key position]
    for head, weights in enumerate(pattern):
        best = int(weights.argmax())
        print(f"  layer 5, head {head}: the last word looks at {words[best]} ({weights[best]:.0%})")


def show_patch(model: hookwire.RemoteModel) -> None:
    """One vector of the clean prompt's row in the corrupted one's, within one run."""
    hook, op = "blocks.5.hook_resid_pre", ops.copy(from_row=0, row=1, pos=-1)
    logits = model.run_with_hooks([CLEAN, CORRUPTED], fwd_hooks=[(hook, op)])
    word, difference = last_word(model, logits, 1)
    print(f"  {hook}: {op}")
    print(f"  {CORRUPTED} → {bold(word)}   {ANSWER} - {OTHER}: {difference:+.1f}")


def patch_everywhere(model: hookwire.RemoteModel) -> np.ndarray:
    """Mary - John of the corrupted prompt after each patch: [layer, pos].

    A layer is one run: row 0 is the clean prompt, and each other row is the corrupted one, patched
    at a position of its own.
    """
    n_pos = len(model.to_str_tokens(CORRUPTED))
    rows = [CLEAN] + [CORRUPTED] * n_pos
    result = np.empty((model.cfg.n_layers, n_pos))
    for layer in range(model.cfg.n_layers):
        hook = f"blocks.{layer}.hook_resid_pre"
        hooks = [(hook, ops.copy(from_row=0, row=1 + pos, pos=pos)) for pos in range(n_pos)]
        logits = model.run_with_hooks(rows, fwd_hooks=hooks)
        result[layer] = [last_word(model, logits, 1 + pos)[1] for pos in range(n_pos)]
    return result


def compare(model: hookwire.RemoteModel, expected: dict[str, np.ndarray]) -> bool:
    """Compares logits and every layer's output with the reference; whether all bits are equal."""
    logits, cache = model.run_with_cache(CLEAN, names_filter="blocks.*.hook_out")
    ours = {n: np.asarray(logits if n == "logits" else cache[n]) for n in expected}
    equal = sum(ours[n].tobytes() == expected[n].tobytes() for n in expected)
    worst = max(float(np.abs(ours[n] - expected[n]).max()) for n in expected)
    print(
        f"  {equal} of {len(expected)} tensors equal bit for bit (logits and every layer's output)"
    )
    print(f"  largest difference: {worst:.1e}")
    return equal == len(expected)


def main() -> None:
    """Runs the tour; exit status 1 if the reference numerics do not equal Transformers."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "demo" / "patching.png")
    out = parser.parse_args().out
    options = ("--threads", str(THREADS), "--log-level", "warn")
    with (
        daemon(TOY, *options) as fast,
        daemon(TOY, *options, "--numerics", "reference") as exact,
    ):
        heading("The model that the server runs")
        model = hookwire.connect(fast)
        show_model(model)
        heading("Two prompts that differ in one word, and the word that follows")
        clean, corrupted = show_prompts(model)
        heading("Activations, chosen by name")
        show_capture(model)
        heading("One vector copied from the first prompt into the second")
        show_patch(model)
        heading(f"The same for every layer and position: {ANSWER} - {OTHER}")
        words = model.to_str_tokens(CORRUPTED)
        result = patch_everywhere(model)
        print_table(result, words, clean, corrupted)
        title = (
            f"“{CORRUPTED} …”\nwith hook_resid_pre copied from the prompt in which {OTHER} gives"
        )
        legend = f"logit({ANSWER}) − logit({OTHER})"
        plot.patching(
            result,
            tokens=words,
            clean=clean,
            corrupted=corrupted,
            metric=legend,
            title=title,
            save=out,
        )
        print(f"  as a picture: {os.path.relpath(out)}")

        from reference import activations  # imports Transformers: seconds

        expected = activations(TOY, CLEAN, THREADS)
        heading("Parity with Transformers, --numerics=fast: equal within float32 rounding")
        compare(model, expected)
        heading("Parity with Transformers, --numerics=reference: equal bit for bit")
        equal = compare(hookwire.connect(exact), expected)
    print("\nBoth daemons have stopped.")
    if not equal:
        sys.exit("The reference numerics differ from Transformers.")


if __name__ == "__main__":
    main()
