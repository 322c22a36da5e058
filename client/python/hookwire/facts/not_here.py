"""Names of TransformerLens's model and configuration that Hookwire's lack, and why.

The one source of these reasons: asking a model or its `cfg` for such a name raises with them, and
docs/generate_comparison.py makes a page of them. A test holds them against TransformerLens.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from hookwire import errors
from hookwire.errors.nearest import nearest

NO_GRADIENTS = (
    "the server computes no gradients; compare two runs instead: change an activation with "
    "run_with_hooks, and see how far the logits move"
)

ARGUMENTS: Mapping[str, str] = {
    "past_key_values": "each run computes its whole sequences",
    "past_kv_cache": "each run computes its whole sequences",
    "past_left_attention_mask": "each run computes its whole sequences",
    "shortformer_pos_embed": "Gemma 4's positions are rotary",
    "pixel_values": "the server runs the text path",
    "input_values": "the server runs the text path",
}
"""Arguments of TransformerLens's forward pass that are none here, and why not."""
_REFUSED = {
    "bwd_hooks": NO_GRADIENTS,
    "incl_bwd": NO_GRADIENTS,
    "labels": "loss is that of the next tokens; use log_probs(targets=…) for others",
}


def refuse(**arguments: Any) -> None:
    """Refuses arguments of TransformerLens that a remote model takes and cannot serve.

    Raises:
        UnsupportedError: one of them is set.
    """
    for name, value in arguments.items():
        if errors.is_set(value):
            raise errors.UnsupportedError(f"{name} is not supported: {_REFUSED[name]}")


@dataclass(frozen=True)
class Group:
    """Names that are missing for one reason.

    Attributes:
        title: the section of the page that they are in.
        names: of TransformerLens.
        why: they are missing.
        instead: what to use.
    """

    title: str
    names: tuple[str, ...]
    why: str
    instead: str


def _group(title: str, names: str, why: str, instead: str) -> Group:
    return Group(title, tuple(names.split()), why, instead)


MODEL = (
    _group(
        "Gradients and training",
        "requires_grad_ zero_grad train parameters named_parameters get_parameter "
        "register_parameter tl_parameters tl_named_parameters get_params "
        "register_backward_hook register_full_backward_hook "
        "register_full_backward_pre_hook",
        "The pass runs on the server, which computes no gradients and trains nothing.",
        "Compare runs: patching, ablation, steering. Read parameters with "
        "`model.weights[name]`, `model.W_Q[layer]` and so on.",
    ),
    _group(
        "A torch module",
        "T_destination add_module apply buffers call_super_init children compile "
        "dump_patches extra_repr get_buffer get_extra_state get_submodule load_state_dict "
        "modules named_buffers named_children named_modules register_buffer "
        "register_forward_hook register_forward_pre_hook "
        "register_load_state_dict_post_hook register_load_state_dict_pre_hook "
        "register_module register_state_dict_post_hook register_state_dict_pre_hook "
        "set_extra_state set_submodule share_memory smart_apply state_dict to_empty type "
        "original_model mod_dict",
        "There is no module in your process: the model is on the server, and the client "
        "needs no torch.",
        "`model.hook_dict` has the hook points, `model.add_hook` adds hooks, "
        "`model.weights` has the parameters.",
    ),
    _group(
        "Device and dtype",
        "to cpu cuda mps ipu xpu mtia half float double bfloat16",
        "`hookwired --device` and `--dtype` choose them for all clients.",
        "`model.cfg.device`, `model.cfg.dtype` say which; `run_with_cache(…, "
        'dtype="float32")` sends captures in another dtype.',
    ),
    _group(
        "Loading a model",
        "boot_transformers boot_native boot_tl_legacy check_model_support "
        "list_supported_models init_weights adapter real_components processor",
        "The server loads it: `hookwired --model DIRECTORY`. It runs Gemma 4.",
        "`hookwire.connect(address)`.",
    ),
    _group(
        "Processed weights",
        "process_weights enable_compatibility_mode compatibility_mode",
        "Nothing is folded or centred: the model computes what the checkpoint says, and "
        "its activations are those of Transformers.",
        "`cache.apply_ln_to_stack` and similar methods apply the norms' weights.",
    ),
    _group(
        "Generation",
        "generate generate_stream hf_generate diffusion_generate",
        "It is not supported yet: a run is one forward pass.",
        "A loop over `model(tokens, logits_pos=-1)` generates greedily, without a cache "
        "of keys and values.",
    ),
    _group(
        "Other kinds of models",
        "encoder_output predict_next_sentence to_sentence_pair_tokens "
        "prepare_multimodal_inputs vision_encoder vision_projector W_pos W_E_pos "
        "hook_pos_embed blocks_with stack_params_for OV_for_attn_layers "
        "QK_for_attn_layers attn_head_labels composition_layer_indices",
        "They are for encoders, for images, and for models with learnt positions or with layers "
        "without attention. Gemma 4's text path has none of these.",
        "Positions are rotary: `rotary_emb.sliding_attention.hook_cos` and the like. "
        "Every layer has attention.",
    ),
    _group(
        "Circuits as products",
        "QK OV all_composition_scores accumulated_bias",
        "They are one tensor over all layers, but the layers of a Gemma 4 differ in the width of "
        "a head and in the number of key-value heads, and some have no keys or values of their "
        "own. A Gemma 4 has no output biases to accumulate.",
        "The tensors of one layer: `model.W_V[layer]`, `model.W_O[layer]`, with query head `h` on "
        "key-value head `h // (n_heads // n_key_value_heads)`.",
    ),
    _group(
        "Switches of hook points",
        "set_use_attn_result set_use_split_qkv_input set_use_attn_in set_use_hook_mlp_in",
        "There is nothing to switch on: the server computes a hook point for the runs that use it.",
        "`attn.hook_result`, `attn.hook_q_input` (and `k`, `v`), `hook_attn_in`, "
        "`hook_mlp_in`, by name.",
    ),
    _group(
        "Caching by hand",
        "add_caching_hooks get_caching_hooks cache_all cache_some",
        "A capture is part of a run, and the server sends it.",
        "`run_with_cache(names_filter=…)`; or `hookwire.read_only(function)` as a hook "
        "that fills a dictionary.",
    ),
    _group(
        "Hook points as objects",
        "get_hook_point hook_aliases block_hooks block_submodules list_hooks "
        "check_hooks_to_add clear_hook_registry context_level embed unembed ln_final "
        "rotary_emb hook_embed hook_unembed blocks",
        "A hook point is a name, and components are not objects.",
        "`model.hook_dict[name]`, with `.aliases` and `.module`; "
        '`model.catalogue().match("blocks.0.**")`; `model.weights["embed.weight"]`.',
    ),
    _group(
        "Small things",
        "all_head_labels",
        "It is one line of Python.",
        '`[f"L{layer}H{head}" for layer in range(cfg.n_layers) for head in range(cfg.n_heads)]`.',
    ),
    _group(
        "Small things",
        "loss_fn",
        "The server computes the loss, so that it need not send logits.",
        '`model(input, return_type="loss")`, with `loss_per_token=True` for each '
        "position; `model.log_probs` for chosen tokens.",
    ),
    _group(
        "Small things",
        "input_to_embed",
        "The client sends token ids, and the server embeds them.",
        "`model(input, stop_at_layer=0)` returns what enters layer 0.",
    ),
    _group(
        "Small things",
        "n_params_total layer_types",
        "They are part of the configuration.",
        "`model.cfg.n_params`, `model.cfg.layer_types`.",
    ),
)
"""Of `TransformerBridge`."""

EARLIER = (
    _group(
        "HookedTransformer, which TransformerLens 4 does not have either",
        "from_pretrained from_pretrained_no_processing load_and_process_state_dict "
        "fill_missing_keys move_model_modules_to_device set_tokenizer setup",
        "The server loads the model, and its tokenizer: `hookwired --model DIRECTORY`.",
        "`hookwire.connect(address)`.",
    ),
    _group(
        "HookedTransformer, which TransformerLens 4 does not have either",
        "fold_layer_norm center_writing_weights center_unembed fold_value_biases "
        "refactor_factored_attn_matrices process_weights_ set_ungroup_grouped_query_attention "
        "ungroup_grouped_query_attention",
        "Nothing is folded, centred or repeated: the model computes what the checkpoint says.",
        "`cache.apply_ln_to_stack` and similar methods apply the norms' weights.",
    ),
    _group(
        "HookedTransformer, which TransformerLens 4 does not have either",
        "lm_cross_entropy_loss",
        "The server computes the loss, so that it need not send logits.",
        '`model(input, return_type="loss")`, with `loss_per_token=True` for each position.',
    ),
    _group(
        "HookedTransformer, which TransformerLens 4 does not have either",
        "load_sample_training_dataset sample_datapoint",
        "A checkpoint does not bring its training data.",
        "Texts of your own, or the `datasets` package.",
    ),
    _group(
        "HookedTransformer, which TransformerLens 4 does not have either",
        "hook_tokens is_caching get_residual",
        "They were parts of the module that ran in your process.",
        "`embed.hook_in` has the tokens; `model(input, stop_at_layer=layer)` returns the stream.",
    ),
    _group(
        "HookedTransformer, which TransformerLens 4 does not have either",
        "check_and_add_hook call_dump_patches",
        "They served the module that ran in your process.",
        "`model.add_hook` checks the hook point and adds the hook.",
    ),
    _group(
        "HookedTransformer, which TransformerLens 4 does not have either",
        "pos_embed get_pos_offset",
        "Gemma 4's positions are rotary, and not embedded.",
        "`rotary_emb.sliding_attention.hook_cos` and the like.",
    ),
    _group(
        "HookedTransformer, which TransformerLens 4 does not have either",
        "past_kv_cache",
        "Each run computes its whole sequences; the server keeps no keys and values between runs.",
        "Pass all tokens; `logits_pos=-1` returns the logits of the last one only.",
    ),
    _group(
        "Transformers' model",
        "config generation_config num_parameters",
        "The server has read the checkpoint's config.json.",
        "`model.cfg`; `model.cfg.n_params` is the number of parameters.",
    ),
    _group(
        "Transformers' model",
        "model lm_head get_input_embeddings get_output_embeddings resize_token_embeddings",
        "The modules are on the server, and its weights do not change.",
        '`model.W_U` and `model.W_E`; `model.weights["unembed.weight"]`.',
    ),
    _group(
        "The decoder inside Transformers' model",
        "layers embed_tokens",
        "The modules are on the server.",
        "`model.hook_dict` has the hook points, `model.cfg.layers` the sizes of each layer, "
        "`model.weights` the parameters.",
    ),
    _group(
        "Transformers' model",
        "save_pretrained push_to_hub",
        "The client has no model to save: the checkpoint's files are on the server.",
        "`pickle.dumps(model)` keeps the address and the hooks; `torch.save(cache, path)` saves a "
        "cache.",
    ),
)
"""Of TransformerLens 3's `HookedTransformer` and of Transformers' models."""

CONFIG = (
    _group(
        "Configuration: rotary embedding",
        "NTK_by_parts_factor NTK_by_parts_high_freq_factor NTK_by_parts_low_freq_factor "
        "use_NTK_by_parts_rope rope_parameters rotary_base rotary_dim rotary_adjacent_pairs "
        "rotary_interleaved_cos_sin qk_norm_after_rope",
        "Each kind of attention has a rotary embedding of its own.",
        "`cfg.ropes`.",
    ),
    _group(
        "Configuration: loading and training",
        "checkpoint_index checkpoint_label_type checkpoint_value from_checkpoint init_mode "
        "init_weights initializer_range seed load_in_4bit trust_remote_code attn_implementation "
        "layer_norm_folding n_devices from_dict unwrap tokenizer_name decoder_start_token_id",
        "The server has loaded the model, and nothing is initialised or converted here.",
        "`cfg.model_name`, `model.server`, `model.tokenizer`; the flags of `hookwired`.",
    ),
    _group(
        "Configuration: other kinds of models",
        "is_audio_model is_multimodal is_stateful is_visual_model mm_tokens_per_image "
        "relative_attention_max_distance relative_attention_num_buckets vision_hidden_size "
        "vision_num_heads vision_num_layers post_embedding_ln split_attention_weights "
        "scale_attn_by_inverse_layer_idx scale_embedding attn_types final_rms use_hook_tokens "
        "original_architecture",
        "They belong to other architectures, or to their implementation.",
        "`cfg.architecture`, `cfg.variant`, `cfg.layer_types`.",
    ),
    _group(
        "Configuration: of the checkpoint's parts",
        "attention_bias default_padding_side",
        "The model and the tokenizer have them.",
        "`model.b_Q[layer]` (an error if there is no bias); `model.tokenizer.padding_side`.",
    ),
)
"""Of `TransformerBridgeConfig`."""

RENAMED = {
    "hidden_size": "d_model",
    "num_hidden_layers": "n_layers",
    "vocab_size": "d_vocab",
    "num_attention_heads": "n_heads",
    "num_key_value_heads": "n_key_value_heads",
    "max_position_embeddings": "n_ctx",
    "rms_norm_eps": "eps",
    "hidden_activation": "act_fn",
    "final_logit_softcapping": "output_logits_soft_cap",
    "hidden_size_per_layer_input": "d_per_layer_input",
    "vocab_size_per_layer_input": "d_vocab_per_layer_input",
    "num_kv_shared_layers": "n_key_value_shared_layers",
    "moe_intermediate_size": "d_expert",
    "top_k_experts": "n_experts_per_token",
    "enable_moe_block": "n_experts",
}
"""Of the names in a checkpoint's config.json, TransformerLens's."""

EARLIER_CONFIG = (
    *(
        _group(
            "Configuration: names of config.json",
            theirs,
            "It is the name in config.json; `cfg` has the name of TransformerLens.",
            f"`cfg.{ours}`.",
        )
        for theirs, ours in RENAMED.items()
    ),
    _group(
        "Configuration: HookedTransformer",
        "ungroup_grouped_query_attention",
        "Keys and values are not repeated: there are as many heads as the checkpoint has.",
        "`cfg.n_key_value_heads`; query head `h` reads key-value head "
        "`h // (n_heads // n_key_value_heads)`.",
    ),
)
"""Of Transformers' configuration of a Gemma 4, and of `HookedTransformerConfig`."""


def missing(what: str, name: str, groups: Iterable[Group], names: Iterable[str]) -> NoReturn:
    """Raises for an attribute that is not there, with the reason where it is TransformerLens's.

    Args:
        what: the object, for the message: "a remote model".
        name: of the attribute.
        groups: of names that TransformerLens has.
        names: that there are, for a suggestion.

    Raises:
        NotHereError: TransformerLens has it.
        NoAttributeError: nobody has it.
    """
    for group in groups:
        if name in group.names:
            raise errors.NotHereError(f"{what} has no {name}: {group.why} Instead: {group.instead}")
    near = nearest(name, [each for each in names if not each.startswith("_")], 1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise errors.NoAttributeError(f"{what} has no attribute {name!r}{hint}")
