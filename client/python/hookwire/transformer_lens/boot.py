"""Connects, and makes what a bridge is made of: configuration, adapter, tokenizer, driver."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from transformer_lens.config import TransformerBridgeConfig
from transformer_lens.factories.architecture_adapter_factory import ArchitectureAdapterFactory
from transformer_lens.model_bridge.sources._bridge_builder import configure_tokenizer
from transformers import AutoTokenizer

from hookwire import errors
from hookwire.api.blocking.model import RemoteModel, connect
from hookwire.errors import arguments
from hookwire.facts.config import Config
from hookwire.transformer_lens.bridge import HookwireBridge
from hookwire.transformer_lens.driver import HookwireDriver
from hookwire.wire import rpc


@arguments.checked("hookwire.transformer_lens.boot")
def boot(
    address: str = rpc.DEFAULT_ADDRESS,
    *,
    tokenizer: Any = None,
    timeout: float = 5.0,
    quiet: bool = False,
    cache_weights: bool | str | os.PathLike[str] = True,
    shared_memory: bool = True,
) -> HookwireBridge:
    """Connects to a server, as TransformerLens's `RemoteBridge` boots a model.

    Args:
        address: as in `hookwire.connect`.
        tokenizer: a tokenizer of Transformers, for the bridge's `tokenizer`. Default: one made from
            the checkpoint's files, which the server sends; None if it has none.
        timeout: seconds to wait for the server's first answer.
        quiet: as in `hookwire.connect`.
        cache_weights: as in `hookwire.connect`.
        shared_memory: as in `hookwire.connect`.

    Returns:
        The bridge, connected.

    Raises:
        UnavailableError, DeadlineError: as in `hookwire.connect`.
    """
    remote = connect(
        address,
        tensors="torch",
        timeout=timeout,
        quiet=quiet,
        cache_weights=cache_weights,
        shared_memory=shared_memory,
    )
    remote._no_reconnect = (
        "a bridge of TransformerLens's keeps the tokenizer, the configuration and the hook points "
        "with which it was made: boot(…) makes one of what the server holds now"
    )
    try:
        adapter = ArchitectureAdapterFactory.select_architecture_adapter(bridge_config(remote.cfg))
        if tokenizer is None:
            tokenizer = _tokenizer(remote)
        if tokenizer is not None:
            tokenizer = configure_tokenizer(tokenizer, adapter.cfg)
        return HookwireBridge(adapter, tokenizer, HookwireDriver(remote, adapter.cfg, tokenizer))
    except BaseException:
        remote.close()
        raise


def bridge_config(cfg: Config) -> TransformerBridgeConfig:
    """The configuration, as TransformerLens makes it of the checkpoint's config.json.

    It lacks what is about vision, which this server does not serve.
    """
    heads = [layer.n_key_value_heads for layer in cfg.layers]
    soft_cap = cfg.output_logits_soft_cap
    made = TransformerBridgeConfig(
        d_model=cfg.d_model,
        d_head=cfg.d_head,
        n_layers=cfg.n_layers,
        n_ctx=cfg.n_ctx,
        n_heads=cfg.n_heads,
        d_mlp=cfg.d_mlp,
        d_vocab=cfg.d_vocab,
        architecture=cfg.architecture,
        model_name=cfg.model_name,
        act_fn=cfg.act_fn,
        eps=cfg.eps,
        dtype=cfg.dtype,
        num_experts=cfg.n_experts or None,
        n_key_value_heads=None if cfg.n_key_value_heads == cfg.n_heads else cfg.n_key_value_heads,
        per_layer_head_dim=[layer.d_head for layer in cfg.layers],
        per_layer_num_key_value_heads=heads if len(set(heads)) > 1 else None,
        tie_word_embeddings=cfg.tie_word_embeddings,
        default_prepend_bos=cfg.default_prepend_bos,
    )
    if soft_cap is not None:
        made.output_logits_soft_cap = soft_cap
    made.layer_types = list(cfg.layer_types)
    made.bos_token_id, made.pad_token_id = cfg.bos_token_id, cfg.pad_token_id
    return made


def _tokenizer(remote: RemoteModel) -> Any:
    """The checkpoint's tokenizer, as TransformerLens loads it; None where there is none."""
    try:
        files = remote._connection.get_tokenizer(remote._load_id)
    except errors.NoTokenizerError:
        return None
    is_unified = "Unified" in remote.cfg.architecture
    # Where no file names the tokenizer's class, it is that of the architecture.
    files.setdefault(
        "config.json",
        json.dumps({"model_type": "gemma4_unified" if is_unified else "gemma4"}).encode(),
    )
    with tempfile.TemporaryDirectory() as directory:
        for name, content in files.items():
            # A name may have one folder, as additional_chat_templates/tool_use.jinja has.
            path = Path(directory, *Path(name).parts[-2:])
            if ".." in path.parts:
                continue
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
        return AutoTokenizer.from_pretrained(directory, add_bos_token=True)
