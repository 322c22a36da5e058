"""Short names and globs resolve as TransformerLens's and the catalogue's do."""

from __future__ import annotations

import hookwire
import pytest
from hookwire.facts.catalogue import Catalogue
from transformer_lens.utilities import get_act_name as reference

from tests.client import fake_model

SHORT = [
    "embed", "resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out", "pattern", "attn",
    "attn_scores", "attn_logits", "q", "k", "v", "z", "query", "key", "value", "rot_q", "rot_k",
    "result", "pre", "post", "mid", "pre_linear", "mlp_pre", "mlp_mid", "mlp_post", "scale",
    "normalized", "k6", "scale4ln1", "pre5", "q12attn", "normalized27ln2", "hook_embed",
    "blocks.3.hook_in", "unembed",
]  # fmt: skip


@pytest.mark.parametrize("name", SHORT)
@pytest.mark.parametrize("layer", [None, 0, 5, "7"])
@pytest.mark.parametrize("kind", [None, "ln1", "a", "attn", "attention", "m", "mlp", "b", "blocks"])
def test_short_names(name: str, layer: int | str | None, kind: str | None) -> None:
    assert hookwire.get_act_name(name, layer, kind) == reference(name, layer, kind)


@pytest.mark.parametrize(
    ("glob", "matched"),
    [
        ("blocks.*.hook_in", ["blocks.0.hook_in", "blocks.1.hook_in", "blocks.2.hook_in"]),
        ("*.hook_out", ["embed.hook_out", "ln_final.hook_out"]),
        ("hook_*", ["hook_embed", "hook_logits"]),
        ("**.hook_q", ["blocks.0.attn.hook_q", "blocks.1.attn.hook_q", "blocks.2.attn.hook_q"]),
        ("blocks.1.**_pattern", ["blocks.1.attn.hook_pattern"]),
        ("*", ["hook_embed", "hook_logits"]),
    ],
)
def test_globs(glob: str, matched: list[str]) -> None:
    assert Catalogue(fake_model.catalogue()).match(glob) == matched


def test_everything_matches_two_stars() -> None:
    assert Catalogue(fake_model.catalogue()).match("**") == list(fake_model.BY_NAME)
