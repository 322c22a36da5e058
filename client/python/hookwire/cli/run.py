"""`hookwire run`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

import hookwire
from hookwire.cli import captures, files, prompts
from hookwire.cli.settings import Settings, subcommand
from hookwire.cli.show import Output, word
from hookwire.facts.display import size
from hookwire.facts.dtypes import Array
from hookwire.facts.logits import top
from hookwire.recipes import words

_WORDS = 5


@dataclass
class Result:
    """What a run brought.

    Attributes:
        tensors: captures by name, [batch, pos, …]; "logits" too where they were asked for, and
            "residual" where the pass ended early.
        names: all names of each.
        answer: the most likely next words: id and probability; none if logits are NaN.
        receipt: of the run.
    """

    tensors: dict[str, Array]
    names: dict[str, tuple[str, ...]]
    answer: list[tuple[int, float]]
    receipt: hookwire.Receipt


_EXAMPLES = """
hookwire run "Mary gave a drink to"
hookwire run "Mary gave a drink to" -c 'blocks.*.hook_resid_post' -o acts.safetensors
hookwire run --ids 2,17,4 -c blocks.3.hook_out --pos -1 --stop-at-layer 4
"""


@subcommand("run", examples=_EXAMPLES)
@captures.options
@click.option(
    "-o",
    "--output",
    "path",
    type=files.FILE,
    help="Write the captures to this safetensors file, with the receipt as metadata.",
)
def command(
    settings: Settings, prompt: str, ids: bool, bos: bool | None, path: Path | None, **wanted: Any
) -> None:
    """Run a prompt and read activations.

    The command lists tensors as they arrive. The file has each distinct tensor once, as [1, pos,
    …], under its canonical name if you asked for that. Its metadata are JSON: "receipt", "names"
    (all names of each tensor) and "tokens". If the run fails, nothing is written.
    """
    output = settings.output()
    captures.check(**wanted, path=path)
    if path is not None:
        files.check_safetensors(path)
    with settings.connect() as model:
        tokens = prompts.read(model, prompt, ids, bos)
        keep_logits = wanted["logits"] is not None
        asked = captures.arguments(len(tokens), **wanted)
        result = _run(model, tokens, asked, keep_logits, output)
        answer = [
            {"word": words.word(model, token), "id": token, "probability": share}
            for token, share in result.answer
        ]
    if path is not None:
        _write(path, result, tokens)
    if output.json:
        output.document(
            {
                "prompt": tokens.described(),
                "tensors": [_described(result, name) for name in result.tensors],
                "next": answer,
                "receipt": asdict(result.receipt),
                "file": None if path is None else str(path),
            }
        )
        return
    if result.tensors:
        output.line()
    if answer:
        best = "  ".join(
            f"{word(str(one['word']))} {_percent(one['probability'])}" for one in answer
        )
        output.line(f"next: {best}")
    _show_receipt(output, result.receipt)
    if path is not None:
        output.line(f"{path}: {len(result.tensors)} tensors, {size(path.stat().st_size)}")


def _run(
    model: hookwire.RemoteModel,
    tokens: prompts.Prompt,
    asked: dict[str, Any],
    keep_logits: bool,
    output: Output,
) -> Result:
    """Runs, and tells of each tensor when it arrives."""
    tensors: dict[str, Array] = {}
    names: dict[str, tuple[str, ...]] = {}
    answer: list[tuple[int, float]] = []
    stream = model.stream(tokens.ids, **asked)
    for activation in stream:
        name, tensor = activation
        if name == "logits":
            # Of NaN there is no highest.
            answer = [] if np.isnan(tensor[0, -1]).any() else top(tensor[0, -1], _WORDS)
            if not keep_logits:
                continue
        tensors[name] = tensor
        names[name] = activation.names
        if not output.json:
            output.line(_line(name, tensor))
    return Result(tensors, names, answer, stream.receipt)


def _percent(share: Any) -> str:
    return f"{share:.1%}" if share >= 0.0005 else "<0.1%"


def _line(name: str, tensor: Array) -> str:
    shape = "×".join(map(str, tensor.shape))
    text = f"{name:<42} {shape:>14}  {tensor.dtype.name:<8}"
    if tensor.dtype.kind in "iu":
        return text.rstrip()
    numbers = _numbers(tensor)
    return text + "".join(f"  {key} {value:.4g}" for key, value in numbers.items())


def _numbers(tensor: Array) -> dict[str, float]:
    """What the finite values of a tensor are like; masked scores are −inf."""
    values = tensor.astype(np.float64)
    values = values[np.isfinite(values)]
    if not values.size:
        return {}
    return {
        "mean": float(values.mean()),
        "rms": float(np.sqrt(np.square(values).mean())),
        "min": float(values.min()),
        "max": float(values.max()),
    }


def _described(result: Result, name: str) -> dict[str, Any]:
    tensor = result.tensors[name]
    return {
        "name": name,
        "names": list(result.names[name]),
        "shape": list(tensor.shape),
        "dtype": tensor.dtype.name,
        "bytes": tensor.nbytes,
        **(_numbers(tensor) if tensor.dtype.kind not in "iu" else {}),
    }


def _show_receipt(output: Output, receipt: hookwire.Receipt) -> None:
    output.line(
        f"{size(receipt.bytes)}, {receipt.n_layers_run} layers in "
        f"{receipt.compute_us / 1000:.1f} ms on {receipt.device}, {receipt.dtype}, "
        f"numerics={receipt.numerics}; weights {receipt.weights_digest[:19]}",
        style="dim",
    )


def _write(path: Path, result: Result, tokens: prompts.Prompt) -> None:
    metadata = {
        "receipt": json.dumps(asdict(result.receipt)),
        "names": json.dumps(result.names),
        "tokens": json.dumps(tokens.described()),
    }
    files.write_safetensors(path, result.tensors, metadata)
