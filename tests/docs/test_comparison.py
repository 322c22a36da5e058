"""What TransformerLens's model has is here, or in the table that says why not."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

import hookwire
import pytest
import torch
from hookwire import errors
from hookwire.facts import not_here
from transformer_lens import HookedRootModule
from transformer_lens.model_bridge import TransformerBridge

from docs.generate_comparison import groups
from tests.docs.conftest import TOY
from tests.parity.daemon import ROOT


def public(thing: object) -> set[str]:
    return {name for name in dir(thing) if not name.startswith("_")}


def is_there(model: hookwire.RemoteModel, name: str) -> bool:
    try:
        getattr(model, name)
    except (errors.NoModulesError, errors.UnsupportedError):
        return False
    return True


@pytest.fixture(scope="module")
def bridge() -> TransformerBridge:
    return TransformerBridge.boot_transformers(str(TOY), device="cpu", dtype=torch.float32)


@pytest.fixture(scope="module")
def theirs(bridge: TransformerBridge) -> set[str]:
    """Of the class, and of a model: its attributes are made when it is booted."""
    return public(TransformerBridge) | public(bridge)


@pytest.fixture(scope="module")
def ours(toy: str) -> set[str]:
    with hookwire.connect(toy, quiet=True) as model:
        return {name for name in public(model) if is_there(model, name)}


LISTED = [name for group in not_here.MODEL for name in group.names]
EARLIER = [name for group in not_here.EARLIER for name in group.names]
CONFIG = [name for group in not_here.CONFIG for name in group.names]
EARLIER_CONFIG = [name for group in not_here.EARLIER_CONFIG for name in group.names]


def test_each_name_is_listed_once() -> None:
    for names in ([*LISTED, *EARLIER], [*CONFIG, *EARLIER_CONFIG]):
        assert [name for name, count in Counter(names).items() if count > 1] == []
    listed = (not_here.MODEL, not_here.EARLIER, not_here.CONFIG, not_here.EARLIER_CONFIG)
    assert len(groups()) == sum(map(len, listed))


def test_the_configuration_is_here_or_listed(toy: str, bridge: TransformerBridge) -> None:
    with hookwire.connect(toy, quiet=True) as model:
        theirs, ours = public(bridge.cfg), public(model.cfg) | set(model.cfg.to_dict())
        assert sorted(theirs - ours - set(CONFIG)) == []
        assert sorted(set(CONFIG) & ours) == []
        assert sorted(set(CONFIG) - theirs) == []
        assert sorted(set(EARLIER_CONFIG) & ours) == []
        # What TransformerLens knows of a Gemma 4, and has not left at the default of another model.
        for name in SAME.split():
            assert getattr(model.cfg, name) == getattr(bridge.cfg, name), name
        assert list(model.cfg.per_layer_head_dim) == bridge.cfg.per_layer_head_dim
        text = bridge.original_model.config.text_config
        assert (model.cfg.window_size, model.cfg.use_local_attn) == (text.sliding_window, True)
        made = model.cfg.to_dict()
        assert made["normalization_type"] == "RMS"
        assert made["layers"][0]["d_head"] == bridge.cfg.per_layer_head_dim[0]
        assert all(getattr(model.cfg, name) == made[name] for name in made if name not in NESTED)


SAME = """
normalization_type uses_rms_norm rmsnorm_uses_offset positional_embedding_type
attention_dir attn_only gated_mlp parallel_attn_mlp attn_scores_soft_cap act_fn
tokenizer_prepends_bos tokenizer_appends_eos default_prepend_bos d_vocab d_vocab_out
d_head head_dim d_mlp intermediate_size d_model n_layers n_heads n_ctx eps
n_key_value_heads bos_token_id eos_token_id pad_token_id num_experts experts_per_token
output_logits_soft_cap tie_word_embeddings architecture device
"""
NESTED = ("layers", "ropes")


def test_what_earlier_versions_had_is_nowhere(theirs: set[str], ours: set[str]) -> None:
    assert sorted(set(EARLIER) & (theirs | ours)) == []


def test_hooked_root_module_is_here_or_listed(ours: set[str]) -> None:
    """What TransformerLens keeps for modules of one's own, and its HookedTransformer was."""
    assert sorted(public(HookedRootModule) - ours - set(LISTED) - set(EARLIER)) == []


def test_what_is_said_of_a_configuration_is_true(toy: str, bridge: TransformerBridge) -> None:
    """The checkpoint's name and the one that is offered instead have one value."""
    text = bridge.original_model.config.text_config
    with hookwire.connect(toy, quiet=True) as model:
        for theirs, ours in not_here.RENAMED.items():
            value = getattr(text, theirs)
            assert getattr(model.cfg, ours) == (value or getattr(model.cfg, ours)), theirs


def test_what_is_said_of_transformers_is_true(bridge: TransformerBridge) -> None:
    groups = [group for group in not_here.EARLIER if group.title.startswith("Transformers'")]
    names = [name for group in groups for name in group.names]
    assert {"config", "lm_head", "save_pretrained"} <= set(names)
    assert [name for name in names if not hasattr(bridge.original_model, name)] == []


def test_what_is_neither_here_nor_listed_is_nothing(theirs: set[str], ours: set[str]) -> None:
    assert sorted(theirs - ours - set(LISTED)) == []


def test_what_is_listed_is_not_here(ours: set[str]) -> None:
    assert sorted(set(LISTED) & ours) == []


def test_what_is_listed_is_there(theirs: set[str]) -> None:
    assert sorted(set(LISTED) - theirs) == []


def test_the_table_is_fresh() -> None:
    script = ROOT / "docs" / "generate_comparison.py"
    done = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
