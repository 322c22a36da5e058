"""What the page for TransformerLens's users calls unchanged gives the same there."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformer_lens.model_bridge import TransformerBridge

from tests.docs.blocks import blocks, same
from tests.docs.conftest import TOY
from tests.parity.daemon import ROOT

PAGE = ROOT / "docs" / "coming-from" / "transformer-lens.md"


def test_the_unchanged_code_prints_the_same_there(capsys: pytest.CaptureFixture[str]) -> None:
    lines = PAGE.read_text().splitlines()
    start, end = lines.index("## What stays the same"), lines.index("## Patching")
    block = next(b for b in blocks(PAGE) if b.language == "python" and start < b.line < end)
    model = TransformerBridge.boot_transformers(str(TOY), device="cpu", dtype=torch.float32)
    exec(compile(block.code, Path(PAGE).name, "exec"), {"model": model})
    assert block.output is not None
    assert same(block.output, capsys.readouterr().out)
