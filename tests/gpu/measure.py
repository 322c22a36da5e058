"""Speed on a device, at the shapes of the layers of E4B and 26B-A4B, with random weights.

For each shape, in one run on one device and in bfloat16:

- tokens/s of Hookwire's forward pass (the time that receipts state) beside those of Transformers
  with sdpa attention, both for the logits of the last position of 8 prompts of 512 tokens;
- what it costs to capture `hook_resid_post` of every layer, whole, as a share of that pass.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import tempfile
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import hookwire
import torch
from transformers import (
    AutoModelForImageTextToText,
    Gemma4Config,
    Gemma4ForConditionalGeneration,
    Gemma4TextConfig,
)

from tests.parity.daemon import started

# One period of the layers: five sliding ones and a full one.
PERIOD = ["sliding_attention"] * 5 + ["full_attention"]
COMMON: dict[str, Any] = {
    "num_hidden_layers": len(PERIOD),
    "layer_types": PERIOD,
    "vocab_size": 32768,
    "vocab_size_per_layer_input": 32768,
    "head_dim": 256,
    "global_head_dim": 512,
    "max_position_embeddings": 32768,
    "final_logit_softcapping": 30.0,
    "tie_word_embeddings": True,
}
SHAPES: dict[str, dict[str, Any]] = {
    "E4B": {
        "hidden_size": 2560,
        "num_hidden_layers": 2 * len(PERIOD),
        "layer_types": PERIOD * 2,
        "num_kv_shared_layers": 6,
        "intermediate_size": 10240,
        "num_attention_heads": 8,
        "num_key_value_heads": 2,
        "hidden_size_per_layer_input": 256,
        "sliding_window": 512,
    },
    "26B-A4B": {
        "hidden_size": 2816,
        "intermediate_size": 2112,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
        "num_global_key_value_heads": 2,
        "attention_k_eq_v": True,
        "hidden_size_per_layer_input": 0,
        "enable_moe_block": True,
        "num_experts": 128,
        "top_k_experts": 8,
        "moe_intermediate_size": 704,
        "sliding_window": 1024,
    },
}
# To see that it works, where there is no GPU.
SMALL: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "head_dim": 16,
    "global_head_dim": 32,
    "vocab_size": 512,
    "vocab_size_per_layer_input": 512,
}
SMALL_EXPERTS: dict[str, Any] = {"num_experts": 8, "moe_intermediate_size": 32}


@dataclasses.dataclass(frozen=True)
class Figures:
    """What was measured at one shape.

    Attributes:
        transformers: tokens/s of its forward pass, sdpa.
        hookwire: tokens/s of ours.
        capturing: by how much the pass takes longer where every `hook_resid_post` is captured.
        captured_bytes: of those.
    """

    transformers: float
    hookwire: float
    capturing: float
    captured_bytes: int


@torch.no_grad()
def write(text: dict[str, Any], directory: Path, device: str) -> None:
    """Random weights, made on the device: there it takes seconds."""
    config = Gemma4Config(text_config=Gemma4TextConfig(**text), tie_word_embeddings=True)
    config.dtype = torch.bfloat16
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device(device):
            model = Gemma4ForConditionalGeneration(config)
            for name, weight in model.named_parameters():
                if "norm" not in name:  # keeps the size of what it multiplies
                    weight.normal_(std=weight.shape[-1] ** -0.5)
    finally:
        torch.set_default_dtype(before)
    model.save_pretrained(directory)


def synchronize(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def seconds(call: Callable[[], float], rounds: int) -> float:
    """The median of what `call` returns, after three calls that do not count."""
    for _ in range(3):
        call()
    return statistics.median(call() for _ in range(rounds))


def measure(text: dict[str, Any], device: str, tokens: torch.Tensor, rounds: int) -> Figures:
    """Both sides, one after the other: they share the device's memory."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name) / "checkpoint"
        first = device.split(",")[0]
        write(text, directory, first)
        theirs = seconds(transformers_pass(directory, first, tokens), rounds)
        if device.startswith("cuda"):
            torch.cuda.empty_cache()
        flags = ("--max-batch-tokens", str(tokens.numel()), "--digest-cache", "")
        with (
            started(directory, *flags, device=device) as daemon,
            hookwire.connect(daemon.address, quiet=True, tensors="torch") as model,
        ):
            size = 0

            def ours(names: str, **more: Any) -> Callable[[], float]:
                def run() -> float:
                    nonlocal size
                    _, cache = model.run_with_cache(
                        tokens, names_filter=names, logits_pos=-1, **more
                    )
                    assert cache.receipt.batch_tokens == tokens.numel()
                    size = cache.receipt.bytes
                    return float(cache.receipt.compute_us) / 1e6

                return run

            plain = seconds(ours("hook_embed", pos_slice=-1), rounds)
            capturing = seconds(ours("blocks.*.hook_resid_post"), rounds)
    return Figures(tokens.numel() / theirs, tokens.numel() / plain, capturing / plain - 1, size)


def transformers_pass(directory: Path, device: str, tokens: torch.Tensor) -> Callable[[], float]:
    model: Any = AutoModelForImageTextToText.from_pretrained(
        directory, dtype=torch.bfloat16, attn_implementation="sdpa", local_files_only=True
    )
    model = model.eval().to(device)
    ids = tokens.to(device)

    @torch.no_grad()
    def run() -> float:
        synchronize(device)
        start = time.perf_counter()
        model(input_ids=ids, use_cache=False, logits_to_keep=1)
        synchronize(device)
        return time.perf_counter() - start

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--small", action="store_true", help="small shapes, to see that it works")
    arguments = parser.parse_args()
    rows, n_pos = (2, 16) if arguments.small else (8, 512)
    first = arguments.device.split(",")[0]  # Transformers' side has one
    device = torch.device(first)
    figures: dict[str, Figures] = {}
    for name, shape in SHAPES.items():
        text = {**COMMON, **shape}
        if arguments.small:
            text |= SMALL | (SMALL_EXPERTS if "num_experts" in shape else {})
        generator = torch.Generator().manual_seed(0)
        tokens = torch.randint(4, text["vocab_size"], (rows, n_pos), generator=generator)
        made = measure(text, arguments.device, tokens, arguments.rounds)
        figures[name] = made
        print(f"{name}: {made}", flush=True)
    print(table(figures, device))


def table(figures: dict[str, Figures], device: torch.device) -> str:
    """For docs/performance.md."""
    on = torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
    versions = [f"{name} {metadata.version(name)}" for name in ("torch", "transformers")]
    lines = [
        f"Measured on: {on}, {', '.join(versions)}, hookwire {hookwire.__version__}.",
        "",
        "| shape | Hookwire, tokens/s | Transformers sdpa, tokens/s | ratio"
        " | every `hook_resid_post` costs (goal: at most 10 %) |",
        "| :-- | --: | --: | --: | --: |",
    ]
    for name, made in figures.items():
        lines.append(
            f"| {name} | {made.hookwire:,.0f} | {made.transformers:,.0f}"
            f" | {made.hookwire / made.transformers:.2f}×"
            f" | {100 * made.capturing:+.1f} %, {made.captured_bytes / 2**20:.0f} MiB |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
