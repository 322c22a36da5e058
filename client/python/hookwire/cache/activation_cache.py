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
    """The tensors that `run_with_cache` captured: a mapping from names to tensors [batch, pos, …].

    `cache[key]`, `cache.get(key)`, `key in cache` and `key in cache.keys()` take every name of a
    captured hook point, whichever of them the filter matched: the canonical name, an alias, or a
    short name as in TransformerLens: `cache["pattern", 5]`, `cache["q", 3]`,
    `cache["resid_post", -1]`, `cache["embed"]`, `cache["scale", 2, "ln1"]`. Iteration, `len`,
    `keys()`, `values()` and `items()` have each name that the filter matched, once, in the order of
    the pass.

    A cache can be copied, pickled, and written to a file with `cache.save` (`hookwire.load_cache`
    reads it) or `torch.save` (`torch.load(path, weights_only=False)` reads it; `cache.cache_dict`,
    a dict of tensors, can be read without that argument). A cache that was pickled or saved has all
    its methods. Methods that need weights or the tokenizer then connect to the server of the run
    when they are first called. They raise a HookwireError if it does not answer or holds another
    model.

    The other methods are TransformerLens's, with its arguments, defaults and shapes. They work on
    torch tensors and on NumPy arrays, and fetch weights from the server when they first need them.
    Two things differ, so that parts of the residual stream sum to it: a part is what the stream
    really receives (after the post-norms of Gemma 4, with its layer scalars and per-layer
    embeddings), and `apply_ln` applies the norm's weight too.

    Attributes:
        cache_dict: the tensors by name, a dict.
        model: the model that methods ask for weights and the tokenizer.
        receipt: the `Receipt`: what ran, where, on which weights.
        has_batch_dim: whether tensors have the batch in front.
        has_embed: whether the embedding was captured.
        has_pos_embed: False: Gemma 4 has no positional embedding.
    """

    def toggle_autodiff(self, mode: bool = False) -> None:
        """Not supported: the tensors have no graph, because the pass runs on the server.

        Args:
            mode: has no effect.

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
            layer: the last layer to include; None or -1: up to the input of the final norm.
            incl_mid: also include the stream between attention and MLP.
            apply_ln: apply the norm that reads the last entry. The final norm uses each entry's own
                scale, as the logit lens does; the norm of a layer uses the scale that it had in the
                run.
            pos_slice: positions: an int, which removes the axis, a list or a slice. Default: all.
            mlp_input: also include the input of the last layer's MLP.
            return_labels: return labels too: "0_pre", "0_mid", "final_post".

        Returns:
            [entry, batch, pos, d_model]; with `return_labels`, a pair of that and a list of labels.

        Raises:
            HookNotFoundError: hook points that are needed were not captured; the message names
                them.
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

        Each part is multiplied by the scalars of the layers that it passes. With `mode="all"` and
        `incl_embeds`, the parts sum to the stream. If the stream was captured, this is checked.

        Args:
            layer: take the stream at the input of this layer; None or -1: of the final norm.
            mlp_input: take it at the input of the layer's MLP instead.
            mode: which parts. "all": attention ("3_attn_out"), MLPs ("3_mlp_out") and, if the model
                has them, per-layer embeddings ("3_ple_out"); "attn" or "mlp": only these.
            apply_ln: apply the norm there to the parts, with the scale that it had in the run.
            pos_slice: positions: an int, which removes the axis, a list or a slice. Default: all.
            incl_embeds: include the embedding ("embed").
            return_labels: return the labels too.

        Returns:
            [part, batch, pos, d_model]; with `return_labels`, a pair of that and a list of labels.

        Raises:
            HookNotFoundError: hook points that are needed were not captured; the message names
                them.
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
        """Adds each head's own output to the cache as `hook_result`, [batch, pos, head, d_model].

        A head's output is `hook_z` @ W_O of the head. It is the output before `ln1_post`: the
        results of a layer's heads sum to `attn.hook_out`.

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

        A part is the head's result after `ln1_post`, multiplied by the scalars of the layers that
        it passes.

        Args:
            layer: take the heads of the layers before this one; None or -1: of all layers.
            return_labels: return labels too: "L0H0".
            incl_remainder: add the rest of the stream, as "remainder".
            pos_slice: positions: an int, which removes the axis, a list or a slice. Default: all.
            apply_ln: apply the norm there to the parts, with the scale that it had in the run.

        Returns:
            [part, batch, pos, d_model]; with `return_labels`, a pair of that and a list of labels.

        Raises:
            HookNotFoundError: hook points that are needed were not captured; the message names
                them.
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
        """Stacks one activation of several layers.

        Args:
            activation_name: a short name, such as "pattern" or "resid_pre".
            layer: stack the layers before this one; None or -1: all layers.
            sublayer_type: the component, such as "ln1", if several have the name. Default: the
                usual one.

        Returns:
            [layer, batch, pos, …].

        Raises:
            HookNotFoundError: the activation of a layer was not captured.
            LayersDifferError: the layers' shapes differ; take them one by one.
            ArgumentError: there is no layer before `layer`, or the name is not a short name.
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

        A neuron's part is taken after `ln2_post` (on a model with experts, after
        `post_feedforward_layernorm_1` too), and before the layer's scalar. Without experts, the
        parts of all neurons sum to `hook_mlp_out`.

        Args:
            layer: the layer.
            neuron_slice: neurons: an int, which removes the axis, a list or a slice. Default: all.
            pos_slice: positions: an int, which removes the axis, a list or a slice. Default: all.
            project_output_onto: [d_model] or [d_model, output]: multiply each part with this. The
                tensor with d_model is then never made. Default: do not multiply.

        Returns:
            [batch, pos, neuron, d_model]; with `project_output_onto`, [batch, pos, neuron, output]
            or [batch, pos, neuron].

        Raises:
            HookNotFoundError: hook points that are needed were not captured; the message names
                them.
            LayerOutOfRangeError: the model does not have this layer.
            SliceOutOfRangeError: positions or neurons that do not exist.
            ValueShapeError: `project_output_onto` has another shape.
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

        A part is as in `get_neuron_results`, multiplied by the scalars of the layers that it
        passes. Layers may differ in their number of neurons.

        Args:
            layer: take the neurons of the layers before this one; None or -1: of all layers.
            pos_slice: positions: an int, which removes the axis, a list or a slice. Default: all.
            neuron_slice: neurons of each layer: an int, a list or a slice. Default: all.
            return_labels: return labels too: "L0N0".
            incl_remainder: add the rest of the stream, as "remainder".
            apply_ln: apply the norm there to the parts, with the scale that it had in the run.
            project_output_onto: as in `get_neuron_results`. Default: do not multiply.
            mlp_input: take the stream at the input of the layer's MLP: the remainder is the rest of
                `resid_mid`, and the norm is `ln2`.

        Returns:
            [part, batch, pos, d_model]; with `project_output_onto`, [part, batch, pos, output] or
            [part, batch, pos]; with `return_labels`, a pair of that and a list of labels.

        Raises:
            HookNotFoundError: hook points that are needed were not captured; the message names
                them.
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
        """Applies a norm to parts of the residual stream, with the scale of this run.

        The norm is x / scale × weight, with scale = √(mean(x²) + eps) of the whole stream
        (RMSNorm, Zhang and Sennrich, 2019). With a given scale it is linear, so parts that sum to
        the stream give parts that sum to the norm's output. The norm's weight is applied, because
        it is not folded into the matrices that follow.

        Args:
            residual_stack: [part, batch, pos, d_model].
            layer: the norm at the input of this layer; None, -1 or n_layers: the final norm.
            mlp_input: the norm before its MLP instead of the one before its attention.
            pos_slice: the positions of the parts: an int, a list or a slice; only the scale is
                sliced. Default: all.
            batch_slice: rows: an int, a list or a slice; the parts and the scale are sliced.
                Default: all.
            has_batch_dim: whether the parts have a batch axis.
            recompute_ln: at the final norm, use each part's own scale, as if it were the whole
                stream (the logit lens).

        Returns:
            [part, batch, pos, d_model].

        Raises:
            HookNotFoundError: neither the scale nor what it is computed from was captured.
            ValueShapeError: the parts have other rows or positions than the scale.
            ArgumentTypeError: not a tensor, or not one of the cache's kind.
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

        This is direct logit attribution: norm(part) @ W_U[:, token], where the final norm uses the
        scale that it had in the run. Only the tokens' columns of the unembedding are fetched. Parts
        that sum to the stream give values that sum to the logit **before** the final softcap
        (`hook_unembed`). The softcap is not linear, but it keeps the order: if all parts of one
        token sum to more than those of another, its logit is larger too.

        Args:
            residual_stack: [part, batch, pos, d_model], as `decompose_resid` returns it.
            tokens: a string, an id, or ids [batch], [pos] or [batch, pos]. If there are as many ids
                as rows, each row has its own.
            incorrect_tokens: subtract the values of these tokens; of the same shape as `tokens`.
                Default: subtract nothing.
            pos_slice: the positions of the parts: an int, a list or a slice. Default: all.
            batch_slice: rows: an int, a list or a slice. Default: all.
            has_batch_dim: whether the parts have a batch axis.

        Returns:
            [part, batch, pos].

        Raises:
            HookNotFoundError: neither the scale nor what it is computed from was captured.
            ArgumentError: `incorrect_tokens` has another shape, or the ids fit none of the shapes.
            NotASingleTokenError: a string that is not one token.
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

        The stream goes through the final norm (with each entry's own scale), the unembedding and
        the final softcap, as in "interpreting GPT: the logit lens" (nostalgebraist, 2020). The last
        entry is the model's own prediction. The whole unembedding is fetched, once.

        Args:
            layers: which entries of `accumulated_resid()`; negative counts from the last. Default:
                all.
            incl_mid: also include the stream between attention and MLP.
            positions: an int, a list or a slice. Default: the last column, which in a padded batch
                is not every row's last token.
            batch_slice: rows: an int, a list or a slice. Default: all.
            lens: a function `f(entry, index)` that is applied to each entry before the norm.
                Default: none.
            apply_ln: apply the final norm.
            vocab: keep the values of these tokens only. Default: of all.
            targets: keep the values and ranks of these only: a string, an id, or a list of them; or
                a tensor of ids, one for each row, aligned with [batch, pos] from the right.
                Default: none.
            return_type: "logits", "log_probs" (natural logarithms) or "probs".
            top_k: keep the `top_k` largest values of each position, and their ids. Default: all.
            chunk_size: how many vectors are multiplied with the unembedding at once.

        Returns:
            A `LogitLens`, with values [entry, batch, pos, token].

        Raises:
            HookNotFoundError: hook points that are needed were not captured; the message names
                them.
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

        The parts are: heads ("L0H0"); neurons ("L0N0") or MLPs ("0_mlp_out"); with neurons, on a
        model with experts, the experts of each layer ("0_experts_out"); per-layer embeddings
        ("0_ple_out"); the embedding ("embed"); and the attention biases ("bias", zero on a model
        without). They sum to the stream. If the stream was captured, this is checked, except with
        `apply_ln` or `project_output_onto`.

        Args:
            layer: take the stream at the input of this layer; None or -1: of the final norm.
            mlp_input: take it at the input of the layer's MLP instead.
            expand_neurons: neurons in place of MLPs.
            apply_ln: apply the norm there to the parts, with the scale that it had in the run.
            pos_slice: positions: an int, which removes the axis, a list or a slice. Default: all.
            return_labels: return the labels too.
            project_output_onto: [d_model] or [d_model, output]: multiply each part with this.
                Default: do not multiply.

        Returns:
            [part, batch, pos, d_model]; with `project_output_onto`, [part, batch, pos, output] or
            [part, batch, pos]; with `return_labels`, a pair of that and a list of labels.

        Raises:
            HookNotFoundError: hook points that are needed were not captured; the message names
                them.
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
        """Returns the layers with a state-space mixer: an empty list, as Gemma 4 has none.

        Args:
            mixer_type: has no effect.
        """
        del mixer_type
        return []

    def compute_ssm_state(self, layer: int | None = None, time_step: int | None = None) -> Any:
        """Not supported: Gemma 4 has no state-space layers.

        Args:
            layer: has no effect.
            time_step: has no effect.

        Raises:
            UnsupportedError: always.
        """
        raise errors.UnsupportedError("Gemma 4 has no state-space layers, and so no such state")

    def compute_ssm_effective_attention(
        self,
        layer: int | None = None,
        include_dt_scaling: bool = False,
        per_state_coord: bool = False,
    ) -> Any:
        """Not supported: Gemma 4 has no state-space layers.

        Args:
            layer: has no effect.
            include_dt_scaling: has no effect.
            per_state_coord: has no effect.

        Raises:
            UnsupportedError: always.
        """
        raise errors.UnsupportedError(
            "Gemma 4 has no state-space layers; its attention is cache['pattern', layer]"
        )


def _two_axes(project: Any) -> tuple[Any, bool]:
    """The projection as [d_model, output], and whether that axis was added here."""
    if project is None or project.ndim == 2:
        return project, False
    return project[:, None], True
