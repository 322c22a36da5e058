"""The model's configuration, the server's, and the receipt of a run, as plain values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, NoReturn

from hookwire import errors
from hookwire._proto import model_pb2 as pb
from hookwire._proto import run_pb2
from hookwire.facts import display, dtypes, not_here

_ATTENTION = {
    pb.ATTENTION_TYPE_SLIDING: "sliding_attention",
    pb.ATTENTION_TYPE_FULL: "full_attention",
}
_NUMERICS = {
    pb.NUMERICS_FAST: "fast",
    pb.NUMERICS_INVARIANT: "invariant",
    pb.NUMERICS_REFERENCE: "reference",
}


@dataclass(frozen=True)
class LayerConfig:
    """The configuration of one layer.

    Attributes:
        attention_type: "sliding_attention" or "full_attention".
        n_heads: number of query heads.
        n_key_value_heads: number of key-value heads.
        d_head: width of a head.
        d_mlp: width of the MLP.
        key_value_source: the earlier layer whose keys and values this one reuses; None where it has
            its own.
        key_is_value: the values are the key projection's output; the layer has no `v`.
        layer_scalar: the factor by which the whole block's output is multiplied.
    """

    attention_type: str
    n_heads: int
    n_key_value_heads: int
    d_head: int
    d_mlp: int
    key_value_source: int | None
    key_is_value: bool
    layer_scalar: float


@dataclass(frozen=True)
class UnreadFile:
    """A weight file in the checkpoint's directory that the server does not read.

    Attributes:
        name: within the directory, such as "adapter_model.safetensors".
        n_tensors: how many tensors a safetensors file has; None for other formats, and for a file
            that is broken or cannot be read.
    """

    name: str
    n_tensors: int | None


@dataclass(frozen=True)
class RopeConfig:
    """Rotary embedding of one attention type.

    Attributes:
        attention_type: "sliding_attention" or "full_attention".
        type: "default" or "proportional".
        theta: the base of the frequencies.
        partial_rotary_factor: share of a head that rotates.
    """

    attention_type: str
    type: str
    theta: float
    partial_rotary_factor: float


@dataclass(frozen=True)
class Config:
    """The model's configuration, under TransformerLens's names.

    Attributes that are the same for every Gemma 4, such as `normalization_type`, have the values
    that TransformerLens gives them.

    Attributes:
        model_name: the name of the checkpoint's directory.
        architecture: the class that config.json names.
        variant: "E" (with per-layer embeddings), "dense", "moe" or "unified".
        n_layers: number of layers.
        d_model: width of the residual stream.
        n_heads: number of query heads, the same in every layer.
        n_key_value_heads: number of key-value heads that most layers have (the first such number,
            if two are equally frequent), as in TransformerLens. `layers` has each layer's own.
        d_head: width of a head that most layers have, chosen in the same way.
        d_mlp: width of the MLP in the layers without a double-wide one.
        d_vocab: number of tokens of the vocabulary.
        n_ctx: the most tokens that a sequence may have.
        eps: what every RMSNorm adds to the mean square.
        act_fn: the activation function of the MLP.
        sliding_window: how many tokens a token of a sliding layer sees, itself included.
        output_logits_soft_cap: cap in logits = cap × tanh(raw / cap); None without a softcap.
        d_per_layer_input: width of the per-layer embeddings; 0 if there are none.
        d_vocab_per_layer_input: rows of their table; 0 if there are none.
        n_key_value_shared_layers: how many layers, counted from the last, reuse the keys and values
            of earlier ones.
        n_experts: experts of a layer; 0 if there are none.
        n_experts_per_token: experts that each token uses; 0 if there are none.
        d_expert: width of one expert's MLP; 0 if there are none.
        tie_word_embeddings: the unembedding is the embedding.
        bos_token_id: the beginning-of-sequence token; None without.
        eos_token_ids: the end-of-sequence tokens.
        pad_token_id: the padding token; None without.
        n_params: number of the text path's parameters, as PyTorch counts them: tied ones once,
            buffers (`layer_scalars`) not. Towers for images or audio are not counted.
        weights_digest: "sha256:" and 64 hex digits over the weight files; or "pending".
        dtype_name: the dtype that the server computes in.
        device: where the tensors of results are; `ServerInfo.device` is where the server computes.
        default_prepend_bos: True: text gets a beginning-of-sequence token unless asked otherwise.
        use_torch: results are torch tensors; False: NumPy arrays.
        ropes: the rotary embedding of each attention type.
        layers: the configuration of each layer.
        n_unread_tensors: how many tensors of the checkpoint the server does not read, apart from
            parts that are known to be unused, such as vision towers.
        unread_tensors: the names of the first 100 of them.
        n_unread_files: how many weight files in the checkpoint's directory the server does not
            read.
        unread_files: the first 100 of them.
    """

    model_name: str
    architecture: str
    variant: str
    n_layers: int
    d_model: int
    n_heads: int
    n_key_value_heads: int
    d_head: int
    d_mlp: int
    d_vocab: int
    n_ctx: int
    eps: float
    act_fn: str
    sliding_window: int
    output_logits_soft_cap: float | None
    d_per_layer_input: int
    d_vocab_per_layer_input: int
    n_key_value_shared_layers: int
    n_experts: int
    n_experts_per_token: int
    d_expert: int
    tie_word_embeddings: bool
    bos_token_id: int | None
    eos_token_ids: tuple[int, ...]
    pad_token_id: int | None
    n_params: int
    weights_digest: str
    dtype_name: str
    device: str
    default_prepend_bos: bool = True
    use_torch: bool = field(default=False, repr=False)
    ropes: tuple[RopeConfig, ...] = field(default=(), repr=False)
    layers: tuple[LayerConfig, ...] = field(default=(), repr=False)
    n_unread_tensors: int = 0
    unread_tensors: tuple[str, ...] = field(default=(), repr=False)
    n_unread_files: int = 0
    unread_files: tuple[UnreadFile, ...] = field(default=(), repr=False)

    @property
    def dtype(self) -> Any:
        """The dtype the server computes in: a `torch.dtype` if results are torch's, else a name."""
        if not self.use_torch:
            return self.dtype_name
        import torch

        return getattr(torch, self.dtype_name)

    # What is the same for every Gemma 4, under TransformerLens's names.
    normalization_type = "RMS"
    uses_rms_norm = True
    rmsnorm_uses_offset = False
    use_normalization_before_and_after = True
    use_qk_norm = True
    positional_embedding_type = "rotary"
    attention_dir = "causal"
    attn_only = False
    gated_mlp = True
    parallel_attn_mlp = False
    # Scores are products of normed queries and keys, not divided by √d_head, and have no softcap.
    use_attn_scale = False
    attn_scale = 1.0
    attn_scores_soft_cap = -1.0
    tokenizer_appends_eos = False
    # The hook points that these switch on in TransformerLens are always there.
    use_attn_result = True
    use_attn_in = True
    use_split_qkv_input = True
    use_hook_mlp_in = True

    @property
    def tokenizer_prepends_bos(self) -> bool:
        """Whether text gets a beginning-of-sequence token: True if the model has one."""
        return self.bos_token_id is not None

    @property
    def d_vocab_out(self) -> int:
        """As `d_vocab`."""
        return self.d_vocab

    @property
    def head_dim(self) -> int:
        """As `d_head`."""
        return self.d_head

    @property
    def intermediate_size(self) -> int:
        """As `d_mlp`."""
        return self.d_mlp

    @property
    def eos_token_id(self) -> int | None:
        """The first of `eos_token_ids`; None without."""
        return self.eos_token_ids[0] if self.eos_token_ids else None

    @property
    def num_experts(self) -> int | None:
        """As `n_experts`; None on a model without experts."""
        return self.n_experts or None

    @property
    def experts_per_token(self) -> int | None:
        """As `n_experts_per_token`; None on a model without experts."""
        return self.n_experts_per_token or None

    @property
    def use_local_attn(self) -> bool:
        """Whether some layers have sliding attention."""
        return "sliding_attention" in self.layer_types

    @property
    def window_size(self) -> int | None:
        """As `sliding_window`; None if no layer has sliding attention."""
        return self.sliding_window if self.use_local_attn else None

    @property
    def per_layer_head_dim(self) -> tuple[int, ...]:
        """The width of a head in each layer."""
        return tuple(layer.d_head for layer in self.layers)

    @property
    def per_layer_num_key_value_heads(self) -> tuple[int, ...]:
        """The number of key-value heads in each layer."""
        return tuple(layer.n_key_value_heads for layer in self.layers)

    def to_dict(self) -> dict[str, Any]:
        """Returns all fields and derived values by name."""
        names = [name for name in dir(type(self)) if not name.startswith("_") and name != "to_dict"]
        return {**{name: getattr(self, name) for name in names}, **asdict(self)}

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("_"):
            raise errors.NoAttributeError(f"cfg has no attribute {name!r}")
        names = [*(each.name for each in fields(self)), *dir(type(self))]
        not_here.missing("cfg", name, (*not_here.CONFIG, *not_here.EARLIER_CONFIG), names)

    def _refuse(self, name: str, value: object) -> NoReturn:
        """What comes of setting an attribute.

        Raises:
            ReadOnlyConfigError: the configuration has it.
            NotHereError, NoAttributeError: it has not.
        """
        del value
        getattr(self, name)  # raises where there is none
        raise errors.ReadOnlyConfigError(
            f"cfg.{name} cannot be set: the configuration is that of the model that the server "
            "has loaded, and all its clients share"
        )

    @property
    def final_logit_softcap(self) -> float | None:
        """As `output_logits_soft_cap`: logits = cap × tanh(raw / cap)."""
        return self.output_logits_soft_cap

    @property
    def layer_types(self) -> tuple[str, ...]:
        """The attention type of each layer."""
        return tuple(layer.attention_type for layer in self.layers)

    @property
    def layer_scalars(self) -> tuple[float, ...]:
        """The factor by which each layer's output is multiplied."""
        return tuple(layer.layer_scalar for layer in self.layers)

    @property
    def key_value_sources(self) -> tuple[int | None, ...]:
        """For each layer, the layer whose keys and values it reuses; None if it has its own."""
        return tuple(layer.key_value_source for layer in self.layers)


# In place of dataclasses.FrozenInstanceError, which does not say why.
setattr(Config, "__setattr__", Config._refuse)  # noqa: B010 - mypy allows no assignment here


@dataclass(frozen=True)
class ServerInfo:
    """The server that holds the model.

    Attributes:
        address: as given to `connect`.
        build: its version, such as "hookwired 0.1.0 (libtorch 2.15.0)".
        device: where it computes, such as "cpu" or "cuda:0".
        dtype: what it computes in, such as "bfloat16".
        numerics: "fast", "invariant" or "reference".
        threads: number of compute threads.
        max_request_bytes: the largest request message, in bytes.
        max_result_bytes: the largest result of one run, in bytes; 0: no limit.
        max_tokens: the most tokens of one run.
        capabilities: what it can do, such as "plan" or "ops.copy".
    """

    address: str
    build: str
    device: str
    dtype: str
    numerics: str
    threads: int
    max_request_bytes: int
    max_result_bytes: int
    max_tokens: int
    capabilities: frozenset[str]


@dataclass(frozen=True)
class ServerLoad:
    """What a server is doing at the moment.

    All values are 0 on an idle server without clients.

    Attributes:
        waiting_runs: runs in the queue.
        running_runs: runs that have started and not ended.
        open_results: calls whose results have not been read to the end, waiting runs included.
        buffered_bytes: bytes of results that wait for their readers, and bytes reserved for results
            of runs that have started.
        request_bytes: bytes that requests hold: messages, uploads, plans, and 1 KiB for each
            tensor.
        shared_memory_bytes: bytes of shared memory that clients hold.
        shared_memory_clients: how many clients hold some.
    """

    waiting_runs: int
    running_runs: int
    open_results: int
    buffered_bytes: int
    request_bytes: int
    shared_memory_bytes: int
    shared_memory_clients: int


@dataclass(frozen=True)
class NonFinite:
    """NaN and infinity that one row has at one hook point, or in an output.

    Attributes:
        hook: the hook point's canonical name, or "logits", "log_probs", "residual".
        row: the row of the batch, counted from 0.
        nan: how many elements are NaN.
        inf: how many are infinite.
    """

    hook: str
    row: int
    nan: int
    inf: int


@dataclass(frozen=True)
class Receipt:
    """What a run computed, where, and on which weights.

    Attributes:
        run_id: the server's name for the run.
        weights_digest: "sha256:" and 64 hex digits over the weight files; or "pending" while the
            server computes it.
        build: the server's version.
        device: where the server computed, such as "cpu".
        dtype: what it computed in, such as "bfloat16".
        numerics: "fast", "invariant" or "reference".
        threads: number of compute threads.
        batch_runs: runs that shared the pass, this one included.
        batch_sequences: sequences of all these runs.
        batch_tokens: tokens of all these runs.
        tensors: number of tensors that were sent.
        bytes: bytes of all tensors that were sent.
        n_layers_run: layers that ran.
        queue_us: microseconds in the queue until the first pass began.
        compute_us: microseconds from the start of the (last) pass until the run left it.
        stream_us: microseconds from the first tensor that was sent to the receipt.
        repeats: how many times the run was computed again, alone or in a smaller batch, because the
            pass of its batch had failed. The `batch_` values are then those of the last batch;
            tensors that had been sent before come from the earlier one.
        non_finite: where the result has NaN or infinity.
        load_id: names the load that ran; empty if the server sends no name.
    """

    run_id: str
    weights_digest: str
    build: str
    device: str
    dtype: str
    numerics: str
    threads: int
    batch_runs: int
    batch_sequences: int
    batch_tokens: int
    tensors: int
    bytes: int
    n_layers_run: int
    queue_us: int
    compute_us: int
    stream_us: int
    repeats: int = 0
    non_finite: tuple[NonFinite, ...] = ()
    load_id: str = ""

    def __repr__(self) -> str:
        return (
            f"Receipt({display.size(self.bytes)} in {self.tensors} tensors, {self.n_layers_run} "
            f"layers in {self.compute_us / 1000:.1f} ms on {self.device}, {self.dtype}, "
            f"numerics={self.numerics}, weights {self.weights_digest[:19]}, run {self.run_id})"
        )

    def _repr_html_(self) -> str:
        """A table for notebooks: every value."""
        return display.table("Receipt", (), [*vars(self).items()])


def config(model: pb.Model, server: pb.Server, use_torch: bool) -> Config:
    """The configuration out of the wire's messages.

    Args:
        model: what the server says of the model.
        server: and of itself.
        use_torch: as in `Config`.
    """
    return Config(
        model_name=model.name,
        architecture=model.architecture,
        variant=model.variant,
        n_layers=model.n_layers,
        d_model=model.d_model,
        n_heads=model.n_heads,
        n_key_value_heads=_most_frequent(
            [layer.n_key_value_heads for layer in model.layers] or [model.n_key_value_heads]
        ),
        d_head=_most_frequent([layer.d_head for layer in model.layers] or [model.d_head]),
        d_mlp=model.d_mlp,
        d_vocab=model.d_vocab,
        n_ctx=model.n_ctx,
        eps=model.eps,
        act_fn=model.act_fn,
        sliding_window=model.sliding_window,
        output_logits_soft_cap=(
            model.final_logit_softcap if model.HasField("final_logit_softcap") else None
        ),
        d_per_layer_input=model.d_per_layer_input,
        d_vocab_per_layer_input=model.d_vocab_per_layer_input,
        n_key_value_shared_layers=model.n_key_value_shared_layers,
        n_experts=model.n_experts,
        n_experts_per_token=model.n_experts_per_token,
        d_expert=model.d_expert,
        tie_word_embeddings=model.tie_word_embeddings,
        bos_token_id=model.bos_token_id if model.HasField("bos_token_id") else None,
        eos_token_ids=tuple(model.eos_token_ids),
        pad_token_id=model.pad_token_id if model.HasField("pad_token_id") else None,
        n_params=model.n_params,
        weights_digest=model.weights_digest,
        dtype_name=dtypes.NAMES.get(server.dtype, "unknown"),
        use_torch=use_torch,
        device="cpu",
        ropes=_ropes(model.ropes),
        layers=_layers(model.layers),
        n_unread_tensors=model.n_unread_tensors,
        unread_tensors=tuple(model.unread_tensors),
        n_unread_files=model.n_unread_files,
        unread_files=_unread_files(model.unread_files),
    )


def _most_frequent(values: Sequence[int]) -> int:
    return Counter(values).most_common(1)[0][0]


def _unread_files(files: Sequence[pb.UnreadFile]) -> tuple[UnreadFile, ...]:
    return tuple(
        UnreadFile(file.name, file.n_tensors if file.HasField("n_tensors") else None)
        for file in files
    )


def _ropes(ropes: Sequence[pb.Rope]) -> tuple[RopeConfig, ...]:
    return tuple(
        RopeConfig(
            _ATTENTION.get(rope.attention_type, "unknown"),
            rope.type,
            rope.theta,
            rope.partial_rotary_factor,
        )
        for rope in ropes
    )


def _layers(layers: Sequence[pb.Layer]) -> tuple[LayerConfig, ...]:
    return tuple(
        LayerConfig(
            attention_type=_ATTENTION.get(layer.attention_type, "unknown"),
            n_heads=layer.n_heads,
            n_key_value_heads=layer.n_key_value_heads,
            d_head=layer.d_head,
            d_mlp=layer.d_mlp,
            key_value_source=(
                layer.key_value_source if layer.HasField("key_value_source") else None
            ),
            key_is_value=layer.key_is_value,
            layer_scalar=layer.layer_scalar,
        )
        for layer in layers
    )


def server_load(load: pb.Load) -> ServerLoad:
    """From the wire."""
    return ServerLoad(
        load.waiting_runs,
        load.running_runs,
        load.open_results,
        load.buffered_bytes,
        load.request_bytes,
        load.shared_memory_bytes,
        load.shared_memory_clients,
    )


def server_info(server: pb.Server, address: str) -> ServerInfo:
    """The server out of the wire's message."""
    return ServerInfo(
        address=address,
        build=server.build,
        device=server.device,
        dtype=dtypes.NAMES.get(server.dtype, "unknown"),
        numerics=_NUMERICS.get(server.numerics, "unknown"),
        threads=server.threads,
        max_request_bytes=server.max_request_bytes,
        max_result_bytes=server.max_result_bytes,
        max_tokens=server.max_tokens,
        capabilities=frozenset(server.capabilities),
    )


def receipt(message: run_pb2.Receipt) -> Receipt:
    """The receipt out of the wire's message."""
    return Receipt(
        run_id=message.run_id,
        weights_digest=message.weights_digest,
        build=message.build,
        device=message.device,
        dtype=dtypes.NAMES.get(message.dtype, "unknown"),
        numerics=_NUMERICS.get(message.numerics, "unknown"),
        threads=message.threads,
        batch_runs=message.batch_runs,
        batch_sequences=message.batch_sequences,
        batch_tokens=message.batch_tokens,
        tensors=message.tensors,
        bytes=message.bytes,
        n_layers_run=message.n_layers_run,
        queue_us=message.queue_us,
        compute_us=message.compute_us,
        stream_us=message.stream_us,
        repeats=message.repeats,
        non_finite=tuple(
            NonFinite(entry.hook, entry.sequence, entry.nan, entry.inf)
            for entry in message.non_finite
        ),
    )
