"""The activations of a run: by name, and taken apart as TransformerLens takes them apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from hookwire import errors
from hookwire.cache import arrays, contributions, logits, norms, residual
from hookwire.cache import lens as lenses
from hookwire.cache.captured import Captured
from hookwire.cache.slices import Slice
from hookwire.errors import arguments


@arguments.checked_methods("cache")
class ActivationCache(Captured):
    """What `run_with_cache` captured: a mapping from names to tensors [batch, pos, …].

    `cache[key]`, `cache.get(key)` and `key in cache` take every name of a hook point that was
    captured, whichever of them the filter matched: the canonical name, an alias, and a short name,
    as in TransformerLens: `cache["pattern", 5]`, `cache["q", 3]`, `cache["resid_post", -1]`,
    `cache["embed"]`, `cache["scale", 2, "ln1"]`. So does `key in cache.keys()`. Iteration, `len`,
    `keys()`, `values()` and `items()` give each name that the filter matched, once, in the order of
    the pass.

    A cache can be copied, pickled, and written to a file with `cache.save` (`hookwire.load_cache`
    reads it) or `torch.save` (read it with `torch.load(path, weights_only=False)`;
    `cache.cache_dict`, a dict of tensors, can be read without that). One that was pickled or saved
    has all its methods; those that need weights or the tokenizer connect to the server
    that the run was on when they are first called, and raise a HookwireError where it does not
    answer or holds another model.

    The other methods are TransformerLens's, with its arguments, defaults and shapes. They work on
    torch tensors and on NumPy arrays. Weights that they need come from the server when they are
    first needed. What differs: parts are what
    really reaches the residual stream (behind the norms of Gemma 4, with its layer scalars and its
    per-layer embeddings), so that they sum to it, and `apply_ln` applies the norm's weight too.

    Attributes:
        cache_dict: the tensors.
        receipt: what ran, where, on which weights.
        has_batch_dim: whether tensors have the batch in front.
        has_embed: whether the embedding was captured.
        has_pos_embed: False: Gemma 4 has no positional embedding.
    """

    def toggle_autodiff(self, mode: bool = False) -> None:
        """Not supported.

        Raises:
            UnsupportedError: always.
        """
        raise errors.UnsupportedError(
            f"toggle_autodiff({mode}) is not supported: the pass runs on the server, so the "
            "tensors have no graph; for the autograd of this process use torch.set_grad_enabled"
        )

    def accumulated_resid(
        self,
        layer: int | None = None,
        incl_mid: bool = False,
        apply_ln: bool = False,
        pos_slice: Any = None,
        mlp_input: bool = False,
        return_labels: bool = False,
    ) -> Any:
        """Returns the residual stream at the input of each layer.

        Args:
            layer: up to the input of this one; None or -1: up to the final norm.
            incl_mid: also between attention and MLP.
            apply_ln: put each through the norm that reads the last of them: the final norm with a
                scale of each one's own, as the logit lens wants it; the norm of another layer with
                the scale that it had.
            pos_slice: at which positions.
            mlp_input: also the input of that layer's MLP.
            return_labels: also labels: "0_pre", "0_mid", "final_post".

        Returns:
            [entry, batch, pos, d_model], or that and the labels.

        Raises:
            HookNotFoundError: the cache lacks hook points; it names them.
        """
        layer, positions = residual.layer_number(self, layer), Slice(pos_slice, "pos_slice")
        if mlp_input:
            norms.target_norm(self, layer, mlp_input)
        stack, labels = residual.accumulated(self, layer, incl_mid, mlp_input, positions)
        if apply_ln:
            stack = self.apply_ln_to_stack(
                stack,
                layer,
                mlp_input,
                positions,
                has_batch_dim=self.has_batch_dim,
                recompute_ln=layer == self.cfg.n_layers,
            )
        return (stack, labels) if return_labels else stack

    def decompose_resid(
        self,
        layer: int | None = None,
        mlp_input: bool = False,
        mode: residual.Mode = "all",
        apply_ln: bool = False,
        pos_slice: Any = None,
        incl_embeds: bool = True,
        return_labels: bool = False,
    ) -> Any:
        """Returns what the embedding and each layer add to the residual stream at a layer.

        Each part is multiplied by the layer scalars on its way. With `mode="all"` and `incl_embeds`
        they sum to the stream; where the stream was captured, that is checked.

        Args:
            layer: at the input of this one; None or -1: of the final norm.
            mlp_input: at the input of its MLP instead.
            mode: "all": "embed", "3_attn_out", "3_mlp_out", and "3_ple_out" where the model has
                per-layer embeddings; "attn" or "mlp": the embedding and these.
            apply_ln: put the parts through the norm there, with the scale that it had.
            pos_slice: at which positions.
            incl_embeds: with the embedding.
            return_labels: also the labels.

        Returns:
            [part, batch, pos, d_model], or that and the labels.

        Raises:
            HookNotFoundError: the cache lacks hook points; it names them.
            DecompositionError: the parts do not sum to the stream.
        """
        layer, positions = residual.layer_number(self, layer), Slice(pos_slice, "pos_slice")
        if mlp_input:
            norms.target_norm(self, layer, mlp_input)
        stack, labels = residual.decompose(self, layer, mlp_input, mode, positions, incl_embeds)
        if apply_ln:
            stack = self.apply_ln_to_stack(stack, layer, mlp_input, positions)
        return (stack, labels) if return_labels else stack

    def compute_head_results(self) -> None:
        """Puts each head's own output, [batch, pos, head, d_model], under `hook_result`.

        From `hook_z` and W_O, where it was not captured. It is the output before `ln1_post`: a
        layer's results sum to `attn.hook_out`.

        Raises:
            HookNotFoundError: a layer's `hook_z` was not captured.
        """
        for layer in range(self.cfg.n_layers):
            name = f"blocks.{layer}.attn.hook_result"
            self.cache_dict[name] = contributions.head_result(self, layer)

    def stack_head_results(
        self,
        layer: int | None = -1,
        return_labels: bool = False,
        incl_remainder: bool = False,
        pos_slice: Any = None,
        apply_ln: bool = False,
    ) -> Any:
        """Returns what each head adds to the residual stream at a layer's input.

        A head's result through `ln1_post`, and multiplied by the layer scalars on its way.

        Args:
            layer: the heads of the layers before this one; None or -1: of all.
            return_labels: also labels: "L0H0".
            incl_remainder: with the rest of the stream, as "remainder".
            pos_slice: at which positions.
            apply_ln: put the parts through the norm there, with the scale that it had.

        Returns:
            [part, batch, pos, d_model], or that and the labels.

        Raises:
            HookNotFoundError: the cache lacks hook points; it names them.
        """
        layer, positions = residual.layer_number(self, layer), Slice(pos_slice, "pos_slice")
        parts, labels = contributions.heads(self, layer, layer, positions)
        stack = arrays.concatenate(parts) if parts else residual.nothing(self, positions)
        if incl_remainder:
            stack = self._with_remainder(stack, residual.stream_key(layer), positions)
            labels.append("remainder")
        if apply_ln:
            stack = self.apply_ln_to_stack(stack, layer, pos_slice=positions)
        return (stack, labels) if return_labels else stack

    def _with_remainder(
        self,
        stack: Any,
        whole: tuple[Any, ...],
        pos_slice: Slice,
        then: norms.Linear | None = None,
        project: Any = None,
    ) -> Any:
        """The parts, and behind them what they leave of the whole (normed, and projected)."""
        target = pos_slice.apply(self[whole], dim=-2)
        if then is not None:
            target = then(target)
        if project is not None:
            target = target @ project
        rest = arrays.float32(target) - arrays.float32(stack).sum(0)
        return arrays.concatenate([stack, arrays.cast(rest, stack)[None]])

    def stack_activation(
        self, activation_name: str, layer: int | None = -1, sublayer_type: str | None = None
    ) -> Any:
        """Stacks one activation of all layers, [layer, …].

        Args:
            activation_name: a short name, such as "pattern" or "resid_pre".
            layer: of the layers before this one; None or -1: of all.
            sublayer_type: the component, where the name alone does not say it.

        Raises:
            HookNotFoundError: a layer's was not captured.
            LayersDifferError: the layers' shapes differ; take them one by one.
            ArgumentError: there is no layer before `layer`.
        """
        if not isinstance(activation_name, str) or "." in activation_name:
            raise errors.ArgumentError(
                'activation_name must be a short name without a layer, such as "resid_pre", not '
                f"{activation_name!r}"
            )
        layer = residual.layer_number(self, layer)
        tensors = [self[activation_name, at, sublayer_type] for at in range(layer)]
        shapes = {tuple(tensor.shape) for tensor in tensors}
        if len(shapes) > 1:
            raise errors.LayersDifferError(
                f"{activation_name} has other shapes in other layers ({sorted(shapes)}), which one "
                f"tensor cannot hold; take cache[{activation_name!r}, layer]"
            )
        if not tensors:
            raise errors.ArgumentError(
                "layer=0 takes the layers before layer 0, and there are none to stack"
            )
        return arrays.stack(tensors)

    def get_neuron_results(
        self,
        layer: int,
        neuron_slice: Any = None,
        pos_slice: Any = None,
        project_output_onto: Any = None,
    ) -> Any:
        """Returns what each neuron of a layer adds to its `mlp_out`.

        Behind `ln2_post` (with experts, behind `post_feedforward_layernorm_1` before that), and
        before the layer's scalar. Without experts, all of them sum to `hook_mlp_out`.

        Args:
            layer: the layer.
            neuron_slice: which neurons.
            pos_slice: at which positions.
            project_output_onto: [d_model] or [d_model, output]: the product with this in place of
                the last axis; the larger tensor is never made.

        Returns:
            [batch, pos, neuron, d_model]; [batch, pos, neuron, output]; [batch, pos, neuron].

        Raises:
            HookNotFoundError: the cache lacks hook points; it names them.
            LayerOutOfRangeError: no such layer.
            SliceOutOfRangeError: positions or neurons that there are not.
        """
        self._check_projection(project_output_onto)
        return contributions.neurons(
            self,
            residual.own_layer(self, layer),
            Slice(neuron_slice, "neuron_slice"),
            Slice(pos_slice, "pos_slice"),
            project_output_onto,
        )

    def _check_projection(self, project: Any) -> None:
        """Refuses what parts cannot be multiplied with.

        Raises:
            ArgumentTypeError: no tensor of the cache's kind.
            ValueShapeError: neither [d_model] nor [d_model, output].
        """
        if project is None:
            return
        what, axes = "project_output_onto", "[d_model] or [d_model, output]"
        arrays.check_vectors(project, 0, self.cfg.d_model, self._any_tensor(), what, axes)
        if project.ndim > 2:
            raise errors.ValueShapeError(f"{what} must be {axes}, not {list(project.shape)}")

    def stack_neuron_results(
        self,
        layer: int | None,
        pos_slice: Any = None,
        neuron_slice: Any = None,
        return_labels: bool = False,
        incl_remainder: bool = False,
        apply_ln: bool = False,
        project_output_onto: Any = None,
        mlp_input: bool = False,
    ) -> Any:
        """Returns what each neuron adds to the residual stream at a layer's input.

        As `get_neuron_results`, multiplied by the layer scalars on its way. Layers may differ in
        their number of neurons.

        Args:
            layer: the neurons of the layers before this one; None or -1: of all.
            pos_slice: at which positions.
            neuron_slice: which neurons of each layer.
            return_labels: also labels: "L0N0".
            incl_remainder: with the rest of the stream, as "remainder".
            apply_ln: put the parts through the norm there, with the scale that it had.
            project_output_onto: as in `get_neuron_results`.
            mlp_input: as the input of that layer's MLP: the remainder is that of `resid_mid`, and
                the norm is `ln2`.

        Returns:
            [part, batch, pos, d_model] (or [part, batch, pos, output], or [part, batch, pos]), or
            that and the labels.

        Raises:
            HookNotFoundError: the cache lacks hook points; it names them.
        """
        layer, positions = residual.layer_number(self, layer), Slice(pos_slice, "pos_slice")
        self._check_projection(project_output_onto)
        project, squeeze = _two_axes(project_output_onto)
        if mlp_input:
            norms.target_norm(self, layer, mlp_input)
        # An axis of one neuron stays.
        wanted = Slice.unwrap(neuron_slice, "neuron_slice")
        then = None
        if apply_ln:
            then = norms.linear(self, norms.target_norm(self, layer, mlp_input), positions)
        parts, labels = contributions.neuron_stack(self, layer, wanted, positions, project, then)
        width = None if project is None else project.shape[-1]
        stack = arrays.concatenate(parts) if parts else residual.nothing(self, positions, width)
        if incl_remainder:
            whole = ("resid_mid", layer) if mlp_input else residual.stream_key(layer)
            stack = self._with_remainder(stack, whole, positions, then, project)
            labels.append("remainder")
        stack = stack[..., 0] if squeeze else stack
        return (stack, labels) if return_labels else stack

    def apply_ln_to_stack(
        self,
        residual_stack: Any,
        layer: int | None = None,
        mlp_input: bool = False,
        pos_slice: Any = None,
        batch_slice: Any = None,
        has_batch_dim: bool = True,
        recompute_ln: bool = False,
    ) -> Any:
        """Applies the norm that reads the stream to parts of it, with the scale of this run.

        That is linear, so the parts of a whole give the parts of the norm's output. The norm's
        weight is applied: nothing is folded into the matrices here.

        Args:
            residual_stack: [part, batch, pos, d_model].
            layer: the norm at the input of this layer; None, -1 or n_layers: the final norm.
            mlp_input: the norm before its MLP instead of the one before its attention.
            pos_slice: at which positions the parts are; it is applied to the scale alone.
            batch_slice: which rows; applied to the parts and to the scale.
            has_batch_dim: whether the parts have a batch.
            recompute_ln: at the final norm: each part with a scale of its own, as if it were the
                whole (the logit lens).

        Raises:
            HookNotFoundError: the scale was not captured, nor what it can be computed from.
            ValueShapeError: the parts are of other rows or positions than the scale.
            ArgumentTypeError: no tensor, or not one of the cache's kind.
        """
        self._check_stack(residual_stack)
        layer, rows = residual.layer_number(self, layer), Slice(batch_slice, "batch_slice")
        if has_batch_dim and residual_stack.ndim > 2:
            residual_stack = rows.apply(residual_stack, dim=1)
        norm = norms.target_norm(self, layer, mlp_input)
        if recompute_ln and layer == self.cfg.n_layers:
            return norms.apply_final_norm(self, residual_stack)
        through = norms.linear(self, norm, Slice(pos_slice, "pos_slice"), rows)
        through.check(residual_stack, norm)
        return through(residual_stack)

    def _check_stack(self, parts: Any) -> None:
        """Refuses what is no tensor of the residual stream's parts, or not of the cache's kind."""
        axes, like = "[part, batch, pos, d_model]", self._any_tensor()
        arrays.check_vectors(parts, -1, self.cfg.d_model, like, "residual_stack", axes)

    def logit_attrs(
        self,
        residual_stack: Any,
        tokens: Any,
        incorrect_tokens: Any = None,
        pos_slice: Any = None,
        batch_slice: Any = None,
        has_batch_dim: bool = True,
    ) -> Any:
        """Returns what parts of the residual stream add to the logits of tokens.

        The parts go through the final norm, with the scale that it had, and onto the tokens'
        columns of the unembedding; only these columns are fetched. The parts of a whole give the
        parts of the logit **before** the final softcap (`hook_unembed`): the softcap is not linear,
        but it keeps the order, so a difference of two tokens' attributions, summed over all parts,
        has the sign of the difference of their logits.

        Args:
            residual_stack: [part, batch, pos, d_model], such as `decompose_resid` gives.
            tokens: a string, an id, or ids [batch], [pos] or [batch, pos]. As many ids as the batch
                has rows are one for each row.
            incorrect_tokens: subtract the contributions to these; of the same shape.
            pos_slice: at which positions the parts are.
            batch_slice: which rows.
            has_batch_dim: whether the parts have a batch.

        Returns:
            [part, batch, pos].

        Raises:
            HookNotFoundError: the scale was not captured, nor what it can be computed from.
            ArgumentError: `incorrect_tokens` has another shape, or no shape of these fits.
            TokenOutOfRangeError: a token that the vocabulary does not have.
        """
        self._check_stack(residual_stack)
        rows, positions = Slice(batch_slice, "batch_slice"), Slice(pos_slice, "pos_slice")

        def scale(parts: Any) -> Any:
            return self.apply_ln_to_stack(
                parts,
                layer=-1,
                pos_slice=positions,
                batch_slice=rows,
                has_batch_dim=has_batch_dim,
            )

        has_rows = has_batch_dim and rows.mode != "int"
        return logits.attribute(self, residual_stack, tokens, incorrect_tokens, scale, has_rows)

    def logit_lens(
        self,
        *,
        layers: Sequence[int] | None = None,
        incl_mid: bool = False,
        positions: Any = -1,
        batch_slice: Any = None,
        lens: Callable[[Any, int], Any] | None = None,
        apply_ln: bool = True,
        vocab: Any = None,
        targets: Any = None,
        return_type: str = "logits",
        top_k: int | None = None,
        chunk_size: int = 64,
    ) -> lenses.LogitLens:
        """Computes what the model would predict from the stream at each layer's input.

        Final norm (with a scale of each entry's own), unembedding and final softcap; the last entry
        is the model's own prediction. The whole unembedding is fetched, once.

        Args:
            layers: which entries of `accumulated_resid()`; negative counts from the last. Default:
                all.
            incl_mid: also between attention and MLP.
            positions: which positions. Default: the last column. In a padded batch that is not
                every row's last token.
            batch_slice: which rows.
            lens: `f(entry, index)`, applied to each entry before the norm.
            apply_ln: with the final norm.
            vocab: keep the values of these tokens.
            targets: keep the values and ranks of these: a string, an id, a list of them; or a
                tensor of ids, one for each row, aligned with [batch, pos] from the right.
            return_type: "logits", "log_probs" or "probs".
            top_k: keep the largest so many, and their ids.
            chunk_size: vectors that are read at once.

        Raises:
            HookNotFoundError: the cache lacks hook points; it names them.
            ArgumentError: an argument that cannot be.
            TokenOutOfRangeError: a token that the vocabulary does not have.
        """
        return lenses.logit_lens(
            self,
            layers=layers,
            incl_mid=incl_mid,
            positions=positions,
            batch_slice=batch_slice,
            lens=lens,
            apply_ln=apply_ln,
            vocab=vocab,
            targets=targets,
            return_type=return_type,
            top_k=top_k,
            chunk_size=chunk_size,
        )

    def get_full_resid_decomposition(
        self,
        layer: int | None = None,
        mlp_input: bool = False,
        expand_neurons: bool = True,
        apply_ln: bool = False,
        pos_slice: Any = None,
        return_labels: bool = False,
        project_output_onto: Any = None,
    ) -> Any:
        """Returns everything that adds to the stream at a layer, in the smallest parts.

        Heads ("L0H0"), then neurons ("L0N0") or MLPs ("0_mlp_out"); with neurons, and on a model
        with experts, the experts of each layer ("0_experts_out"); per-layer embeddings
        ("0_ple_out"); "embed"; and the attention biases ("bias"; zero on a model without). They sum
        to the stream; where the stream was captured, that is checked (but not where neurons are
        projected, or behind a norm).

        Args:
            layer: at the input of this one; None or -1: of the final norm.
            mlp_input: at the input of its MLP instead.
            expand_neurons: neurons in place of MLPs.
            apply_ln: put the parts through the norm there, with the scale that it had.
            pos_slice: at which positions.
            return_labels: also the labels.
            project_output_onto: [d_model] or [d_model, output]: the product with this in place of
                the last axis.

        Returns:
            [part, batch, pos, d_model] (or [part, batch, pos, output], or [part, batch, pos]), or
            that and the labels.

        Raises:
            HookNotFoundError: the cache lacks hook points; it names them.
            DecompositionError: the parts do not sum to the stream.
        """
        layer, positions = residual.layer_number(self, layer), Slice(pos_slice, "pos_slice")
        norm = norms.target_norm(self, layer, mlp_input)
        then = norms.linear(self, norm, positions) if apply_ln else None
        self._check_projection(project_output_onto)
        project, squeeze = _two_axes(project_output_onto)
        n_attention = layer + mlp_input
        parts, labels = contributions.heads(self, n_attention, layer, positions)
        small = list(parts)
        tail: list[tuple[list[Any], list[str]]] = []
        if expand_neurons:
            tail.append(contributions.experts(self, layer, positions))
        else:
            mlps, mlp_labels = residual.decompose(self, layer, False, "mlp", positions, False)
            tail.append(([mlps] if mlp_labels else [], mlp_labels))
        tail.append(contributions.per_layer_inputs(self, layer, positions))
        embed = positions.apply(self.need(["hook_embed"])[0], dim=-2)[None]
        tail.append(([arrays.times(embed, residual.factor(self, 0, layer))], ["embed"]))
        bias = contributions.head_biases(self, n_attention, layer, embed, positions)
        tail.append(([bias], ["bias"]))

        def finish(stack: Any) -> Any:
            made = stack if then is None else then(stack)
            return made if project is None else made @ project

        big: list[Any] = []
        if expand_neurons:
            big, neuron_labels = contributions.neuron_stack(
                self, layer, Slice(), positions, project, then
            )
            labels = labels + neuron_labels
        stack_parts = [finish(part) for part in small] + big
        for more, more_labels in tail:
            stack_parts += [finish(part) for part in more]
            labels = labels + more_labels
        stack = arrays.concatenate(stack_parts)
        if then is None and project is None:
            residual.check_sum(self, stack, layer, mlp_input, positions)
        stack = stack[..., 0] if squeeze else stack
        return (stack, labels) if return_labels else stack

    def ssm_layers(self, mixer_type: Any = None) -> list[int]:
        """Layers with a state-space mixer: Gemma 4 has none."""
        del mixer_type
        return []

    def compute_ssm_state(self, layer: int | None = None, time_step: int | None = None) -> Any:
        """Not supported: a Gemma 4 has no such layers.

        Raises:
            UnsupportedError: always: Gemma 4 has no state-space layers.
        """
        raise errors.UnsupportedError("Gemma 4 has no state-space layers, and so no such state")

    def compute_ssm_effective_attention(
        self,
        layer: int | None = None,
        include_dt_scaling: bool = False,
        per_state_coord: bool = False,
    ) -> Any:
        """Not supported: a Gemma 4 has no such layers.

        Raises:
            UnsupportedError: always: Gemma 4 has no state-space layers.
        """
        raise errors.UnsupportedError(
            "Gemma 4 has no state-space layers; its attention is cache['pattern', layer]"
        )


def _two_axes(project: Any) -> tuple[Any, bool]:
    """The projection as [d_model, output], and whether that axis was added here."""
    if project is None or project.ndim == 2:
        return project, False
    return project[:, None], True
