"""Gemma 4's text path in plain PyTorch, with every hook point of the catalogue in it.

`DirectModel` runs the modules of a Transformers model one after the other and shows each named
place to `tap`, which records the tensor and lets an edit put another in its stead. What an edit
returns is what every later reader of that place sees, and no other; where only some elements
change, the rest of the computation keeps its bits. It serves for three things:

- the hook points that TransformerLens does not have, or where a write there does nothing;
- the effect of an edit that in TransformerLens would leak into siblings;
- in a wider dtype, the oracle that fast numerics are measured against (then nothing inside falls
  back to float32, and constants keep the value they have in the model's own dtype).

`test_harness.py` shows that unedited it equals Transformers and TransformerLens bit for bit, and
that edited it equals TransformerLens wherever TransformerLens means the same.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedModel

# Gets its own copy of the tensor, without a batch axis, and returns the tensor to go on with.
Edit = Callable[[Tensor], Tensor]

WIDER = {torch.float32: torch.float64, torch.bfloat16: torch.float32}


class Seen(dict[str, Tensor]):
    """What a pass saw, by canonical name, without a batch axis.

    Attributes:
        inside: of places that compute in a wider dtype than they show: what they compute with.
    """

    def __init__(self) -> None:
        super().__init__()
        self.inside: dict[str, Tensor] = {}

    def cpu(self) -> Seen:
        """The same, on the CPU."""
        seen = Seen()
        seen.update((name, value.cpu()) for name, value in self.items())
        seen.inside = {name: value.cpu() for name, value in self.inside.items()}
        return seen

    def exact(self, name: str) -> Tensor:
        """The tensor at `name` before it is rounded to be shown."""
        return self.inside.get(name, self[name])


@dataclass
class Pass:
    """One forward pass over one sequence: its edits, and what it saw."""

    edits: Mapping[str, list[Edit]]
    choices: Mapping[int, Tensor] = field(default_factory=dict)
    seen: Seen = field(default_factory=Seen)
    edited: set[str] = field(default_factory=set)

    def tap(
        self, name: str, value: Tensor, *, batched: bool = True, shown: torch.dtype | None = None
    ) -> Tensor:
        """Shows `value` at the hook point `name`; returns what later readers see.

        Args:
            name: canonical.
            value: the tensor at this place.
            batched: whether its first axis is a batch of one, which edits do not see.
            shown: the dtype on the surface, where the place computes in a wider one. Edits work on
                what is inside.
        """
        for edit in self.edits.get(name, ()):
            inner = value[0] if batched else value
            changed = edit(inner.clone())
            assert changed.shape == inner.shape, (name, changed.shape, inner.shape)
            assert changed.dtype == inner.dtype, (name, changed.dtype, inner.dtype)
            value = changed[None] if batched else changed
            self.edited.add(name)
        self.seen[name] = (value[0] if batched else value).detach()
        if shown is not None:
            self.seen.inside[name] = self.seen[name]
            self.seen[name] = self.seen[name].to(shown)
        return value


class DirectModel:
    """The text path of one loaded Transformers model.

    Args:
        model: `Gemma4ForConditionalGeneration` or its unified kin, in eval mode.
        dtype: the dtype to compute in; by default the model's own. A wider one makes the oracle.
    """

    def __init__(self, model: PreTrainedModel, dtype: torch.dtype | None = None) -> None:
        own = model.dtype
        self.dtype = dtype or own
        if self.dtype != own:
            model = copy.deepcopy(model).to(self.dtype)
            if hasattr(model, "set_experts_implementation"):
                model.set_experts_implementation("eager")
        self.model = model
        self.text: Any = model.model.language_model
        self.config = self.text.config
        # What Transformers computes in float32 whatever the model's dtype.
        self.inner = torch.float64 if self.dtype == torch.float64 else torch.float32
        self.constant_dtype = own

    @torch.no_grad()
    def run(
        self,
        tokens: list[int],
        edits: Iterable[tuple[str, Edit]] = (),
        choices: Mapping[int, Tensor] | None = None,
    ) -> Seen:
        """Every hook point's value, under its canonical name, without a batch axis, on the CPU.

        Args:
            tokens: one sequence.
            edits: (canonical name, edit), in order. A name that is not reached is an error.
            choices: the experts that each layer is to use, `[pos, k]` by layer, in place of the
                router's choice; weights are still the router's.
        """
        by_name: dict[str, list[Edit]] = {}
        for name, edit in edits:
            by_name.setdefault(name, []).append(edit)
        now = Pass(by_name, choices or {})
        with self.model.device:  # of what is made on the way
            self._run(now, torch.tensor([tokens]))
        assert now.edited == set(by_name), f"never reached: {set(by_name) - now.edited}"
        return now.seen.cpu()

    def _run(self, now: Pass, ids: Tensor) -> None:
        now.tap("embed.hook_in", ids)
        stream = now.tap("embed.hook_out", self._embed(self.text.embed_tokens, ids))
        per_layer = self._per_layer_inputs(ids, stream)
        rotary = {kind: self._rotary(now, kind, stream) for kind in self.text.unique_layer_types}
        keys_values: dict[str, tuple[Tensor, Tensor]] = {}
        for index, layer in enumerate(self.text.layers):
            signal = None if per_layer is None else per_layer[:, :, index]
            stream = self._block(now, index, layer, stream, signal, rotary, keys_values)
        final = self._norm(now, "ln_final", self.text.norm, stream)
        logits = self.model.lm_head(now.tap("unembed.hook_in", final))
        logits = now.tap("unembed.hook_out", logits)
        if (cap := self.config.final_logit_softcapping) is not None:
            logits = torch.tanh(logits / cap) * cap
        now.tap("hook_logits", logits)

    def _embed(self, module: Any, ids: Tensor) -> Tensor:
        scale = module.embed_scale.to(self.constant_dtype).to(self.dtype)
        return functional.embedding(ids, module.weight) * scale

    def _per_layer_inputs(self, ids: Tensor, embedded: Tensor) -> Tensor | None:
        """[1, pos, layer, d_per_layer_input], or None where the model has no such signal."""
        text = self.text
        if not self.config.hidden_size_per_layer_input:
            return None
        split = (*ids.shape, len(text.layers), self.config.hidden_size_per_layer_input)
        token = self._embed(text.embed_tokens_per_layer, ids).reshape(split)
        context = text.per_layer_model_projection(embedded) * self.config.hidden_size**-0.5
        context = self._plain_norm(text.per_layer_projection_norm, context.reshape(split))
        return (context + token) * 2.0**-0.5

    def _rotary(self, now: Pass, kind: str, stream: Tensor) -> tuple[Tensor, Tensor]:
        stream = now.tap(f"rotary_emb.{kind}.hook_in", stream)
        frequencies = getattr(self.text.rotary_emb, f"{kind}_inv_freq").to(self.inner)
        positions = torch.arange(stream.shape[1], dtype=self.inner)
        angles = (positions[:, None] * frequencies).repeat(1, 2)[None]  # [1, pos, d_head]
        factor = getattr(self.text.rotary_emb, f"{kind}_attention_scaling")
        cos = now.tap(f"rotary_emb.{kind}.hook_cos", (angles.cos() * factor).to(self.dtype))
        sin = now.tap(f"rotary_emb.{kind}.hook_sin", (angles.sin() * factor).to(self.dtype))
        return cos, sin

    def _plain_norm(self, module: Any, x: Tensor) -> Tensor:
        inner = x.to(self.inner)
        normalized = inner * (inner.pow(2).mean(-1, keepdim=True) + module.eps).pow(-0.5)
        if module.with_scale:
            normalized = normalized * module.weight.to(self.inner)
        return normalized.to(self.dtype)

    def _norm(
        self, now: Pass, name: str, module: Any, x: Tensor, *, batched: bool = True
    ) -> Tensor:
        x = now.tap(f"{name}.hook_in", x, batched=batched)
        inner = x.to(self.inner)
        mean_square = inner.pow(2).mean(-1, keepdim=True) + module.eps
        normalized = inner * mean_square.pow(-0.5)
        rule: dict[str, Any] = {"batched": batched, "shown": self.dtype}
        divisor = mean_square.sqrt()
        written = now.tap(f"{name}.hook_scale", divisor, **rule)
        normalized = torch.where(written == divisor, normalized, inner / written)
        normalized = now.tap(f"{name}.hook_normalized", normalized, **rule)
        if module.with_scale:
            normalized = normalized * module.weight.to(self.inner)
        return now.tap(f"{name}.hook_out", normalized.to(self.dtype), batched=batched)

    def _block(
        self,
        now: Pass,
        index: int,
        layer: Any,
        stream: Tensor,
        signal: Tensor | None,
        rotary: dict[str, tuple[Tensor, Tensor]],
        keys_values: dict[str, tuple[Tensor, Tensor]],
    ) -> Tensor:
        name = f"blocks.{index}"
        stream = now.tap(f"{name}.hook_in", stream)
        kind = self.config.layer_types[index]
        attention = self._attention(now, name, layer, kind, stream, rotary[kind], keys_values)
        stream = stream + self._norm(
            now, f"{name}.ln1_post", layer.post_attention_layernorm, attention
        )
        stream = now.tap(f"{name}.hook_resid_mid", stream)

        branch = self._norm(now, f"{name}.ln2", layer.pre_feedforward_layernorm, stream)
        branch = self._mlp(now, f"{name}.mlp", layer.mlp, branch)
        if getattr(layer, "enable_moe_block", False):
            norm = layer.post_feedforward_layernorm_1
            dense = self._norm(now, f"{name}.post_feedforward_layernorm_1", norm, branch)
            branch = dense + self._experts(now, name, index, layer, stream)
        norm = layer.post_feedforward_layernorm
        stream = stream + self._norm(now, f"{name}.ln2_post", norm, branch)

        if signal is not None:
            gate = now.tap(f"{name}.per_layer_input_gate.hook_in", stream)
            gate = layer.per_layer_input_gate(gate)
            gate = now.tap(f"{name}.per_layer_input_gate.hook_out", gate)
            signal = now.tap(f"{name}.hook_per_layer_input", signal)
            branch = layer.act_fn(gate) * signal
            branch = now.tap(f"{name}.per_layer_projection.hook_in", branch)
            branch = layer.per_layer_projection(branch)
            branch = now.tap(f"{name}.per_layer_projection.hook_out", branch)
            norm = layer.post_per_layer_input_norm
            stream = stream + self._norm(now, f"{name}.post_per_layer_input_norm", norm, branch)
        return now.tap(f"{name}.hook_out", stream * layer.layer_scalar)

    def _attention(
        self,
        now: Pass,
        block: str,
        layer: Any,
        kind: str,
        stream: Tensor,
        rotary: tuple[Tensor, Tensor],
        keys_values: dict[str, tuple[Tensor, Tensor]],
    ) -> Tensor:
        module, name = layer.self_attn, f"{block}.attn"
        d_head = module.head_dim
        norm = layer.input_layernorm

        def input_per_head(letter: str, projection: Any) -> tuple[Tensor, Tensor] | None:
            """The projection of one input a head, if a hook changed those; [1, pos, head, d]."""
            weight = projection.weight.view(-1, d_head, stream.shape[-1])  # [head, d_head, d]
            copies = stream[:, :, None].repeat(1, 1, weight.shape[0], 1)
            written = now.tap(f"{name}.hook_{letter}_input", copies)
            if f"{name}.hook_{letter}_input" not in now.edited:
                return None
            own = torch.einsum("bphd,hed->bphe", self._plain_norm(norm, written), weight)
            return own, (written == copies).all(-1, keepdim=True)

        own_keys, own_values = not module.is_kv_shared_layer, False
        if own_keys:
            own_values = module.v_proj is not None
        forked = {"q": input_per_head("q", module.q_proj)}
        if own_keys:
            forked["k"] = input_per_head("k", module.k_proj)
        if own_values:
            forked["v"] = input_per_head("v", module.v_proj)

        x = now.tap(f"{name}.hook_in", self._norm(now, f"{block}.ln1", norm, stream))

        def project(letter: str, projection: Any) -> Tensor:
            flat = projection(now.tap(f"{name}.{letter}.hook_in", x))
            heads = flat.view(*x.shape[:2], -1, d_head)  # [1, pos, head, d_head]
            if (replacement := forked[letter]) is not None:
                own, untouched = replacement
                heads = torch.where(untouched, heads, own)
            return now.tap(f"{name}.{letter}.hook_out", heads)

        cos, sin = (table[:, :, None] for table in rotary)

        def rotate(x: Tensor) -> Tensor:
            first, second = x.chunk(2, dim=-1)
            return x * cos + torch.cat((-second, first), dim=-1) * sin

        q = self._norm(now, f"{name}.q_norm", module.q_norm, project("q", module.q_proj))
        q = now.tap(f"{name}.hook_rot_q", rotate(q))
        if own_keys:
            k = raw = project("k", module.k_proj)
            v = project("v", module.v_proj) if own_values else raw
            k = rotate(self._norm(now, f"{name}.k_norm", module.k_norm, k))
            k = now.tap(f"{name}.hook_rot_k", k)
            v = self._norm(now, f"{name}.v_norm", module.v_norm, v)
            v = now.tap(f"{name}.hook_rot_v", v)
            keys_values[kind] = k, v  # of the layers so far, the last one's are reused
        else:
            k, v = keys_values[kind]
            k = now.tap(f"{name}.hook_rot_k", k)
            v = now.tap(f"{name}.hook_rot_v", v)

        z = self._attend(now, name, module, kind, q, k, v)  # [1, pos, head, d_head]
        z = now.tap(f"{name}.o.hook_in", z)
        by_head = module.o_proj.weight.view(-1, z.shape[2], d_head)  # [d, head, d_head]
        result = torch.einsum("bphe,dhe->bphd", z, by_head)
        written = now.tap(f"{name}.hook_result", result)
        out = module.o_proj(z.flatten(2))
        if f"{name}.hook_result" in now.edited:
            change = (written.to(self.inner) - result.to(self.inner)).sum(2)
            untouched = (written == result).all(-1).all(-1, keepdim=True)
            out = torch.where(untouched, out, (out.to(self.inner) + change).to(self.dtype))
        out = now.tap(f"{name}.o.hook_out", out)
        return now.tap(f"{name}.hook_out", out)

    def _attend(
        self, now: Pass, name: str, module: Any, kind: str, q: Tensor, k: Tensor, v: Tensor
    ) -> Tensor:
        count, groups = q.shape[1], module.num_key_value_groups
        position = torch.arange(count)
        distance = position[:, None] - position
        masked = distance < 0
        if kind == "sliding_attention":
            masked = masked | (distance >= self.config.sliding_window)

        def by_query_head(x: Tensor) -> Tensor:
            x = x.transpose(1, 2)  # [1, key_value_head, pos, d_head]
            if groups == 1:
                return x
            return x[:, :, None].expand(-1, -1, groups, -1, -1).reshape(1, -1, *x.shape[2:])

        scores = q.transpose(1, 2) @ by_query_head(k).transpose(2, 3)  # [1, head, pos, key_pos]
        scores = scores.masked_fill(masked, -torch.inf)
        scores = now.tap(f"{name}.hook_attn_scores", scores).masked_fill(masked, -torch.inf)
        now.seen[f"{name}.hook_attn_scores"] = scores[0]
        pattern = scores.softmax(-1, dtype=self.inner).to(self.dtype)
        pattern = now.tap(f"{name}.hook_pattern", pattern)
        return (pattern @ by_query_head(v)).transpose(1, 2).contiguous()

    def _mlp(self, now: Pass, name: str, module: Any, x: Tensor) -> Tensor:
        x = now.tap(f"{name}.hook_in", x)
        gate = module.gate_proj(now.tap(f"{name}.gate.hook_in", x))
        gate = now.tap(f"{name}.gate.hook_out", gate)
        up = now.tap(f"{name}.in.hook_out", module.up_proj(now.tap(f"{name}.in.hook_in", x)))
        hidden = now.tap(f"{name}.out.hook_in", module.act_fn(gate) * up)
        out = now.tap(f"{name}.out.hook_out", module.down_proj(hidden))
        return now.tap(f"{name}.hook_out", out)

    def _experts(self, now: Pass, name: str, index: int, layer: Any, stream: Tensor) -> Tensor:
        flat, router = stream[0], layer.router  # [pos, d_model]
        x = self._plain_norm(router.norm, now.tap(f"{name}.router.hook_in", flat, batched=False))
        x = x * router.scale * router.scalar_root_size
        scores = now.tap(f"{name}.router.hook_scores", router.proj(x), batched=False)
        shares = scores.softmax(-1, dtype=self.inner)  # [pos, expert]
        shares = now.tap(f"{name}.router.hook_out", shares, batched=False)
        weights, chosen = shares.topk(self.config.top_k_experts, dim=-1)  # [pos, k]
        if index in now.choices:
            chosen = now.choices[index].to(shares.device)
            weights = shares.gather(-1, chosen)
        weights = weights / weights.sum(-1, keepdim=True)
        weights = weights * router.per_expert_scale[chosen]
        weights = now.tap(f"{name}.router.hook_weights", weights, batched=False)
        now.tap(f"{name}.router.hook_indices", chosen, batched=False)
        norm = layer.pre_feedforward_layernorm_2
        x = self._norm(now, f"{name}.pre_feedforward_layernorm_2", norm, flat, batched=False)
        x = now.tap(f"{name}.experts.hook_in", x, batched=False)
        out = now.tap(f"{name}.experts.hook_out", layer.experts(x, chosen, weights), batched=False)
        norm = layer.post_feedforward_layernorm_2
        return self._norm(now, f"{name}.post_feedforward_layernorm_2", norm, out[None])
