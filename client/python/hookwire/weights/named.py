"""The weights under TransformerLens's names: `model.W_Q[3]`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from hookwire.errors import arguments
from hookwire.facts import dtypes
from hookwire.facts.config import Config
from hookwire.facts.ids import words
from hookwire.weights.layers import LayerWeights
from hookwire.weights.parameters import Weights


@arguments.checked_methods("model")
class NamedWeights:
    """The attributes `W_…` and `b_…` of a model."""

    cfg: Config

    @property
    def weights(self) -> Weights:
        """The parameters by their full names."""
        raise NotImplementedError

    def _layers(self, name: str, get: Callable[[int], Any]) -> LayerWeights:
        return LayerWeights(name, get, self.cfg.n_layers)

    def _transposed(self, name: str, component: str) -> LayerWeights:
        return self._layers(name, lambda at: self.weights[f"blocks.{at}.{component}.weight"].T)

    def _projection(self, name: str, component: str) -> LayerWeights:
        def get(at: int) -> Any:
            weight = self.weights[f"blocks.{at}.attn.{component}.weight"]
            heads = weight.reshape(-1, self.cfg.layers[at].d_head, weight.shape[-1])
            return heads.swapaxes(-1, -2)

        return self._layers(name, get)

    def _biases(self, name: str, component: str, heads: bool = False) -> LayerWeights:
        def get(at: int) -> Any:
            bias = self.weights[f"blocks.{at}.{component}.bias"]
            return bias.reshape(-1, self.cfg.layers[at].d_head) if heads else bias

        return self._layers(name, get)

    @property
    def W_Q(self) -> LayerWeights:  # noqa: N802 - TransformerLens's names, as all below
        """Query weights, [head, d_model, d_head] for each layer."""
        return self._projection("W_Q", "q")

    @property
    def W_K(self) -> LayerWeights:  # noqa: N802
        """Key weights, [key_value_head, d_model, d_head] for each layer.

        A layer that reuses the keys and values of another has none: `W_K[layer]` raises
        AbsentWeightError, which names that other layer.
        """
        return self._projection("W_K", "k")

    @property
    def W_V(self) -> LayerWeights:  # noqa: N802
        """Value weights, [key_value_head, d_model, d_head] for each layer.

        As `W_K`. A layer whose values are the output of its key projection has none either.
        """
        return self._projection("W_V", "v")

    @property
    def W_O(self) -> LayerWeights:  # noqa: N802
        """Output weights of attention, [head, d_head, d_model] for each layer."""

        def get(at: int) -> Any:
            weight = self.weights[f"blocks.{at}.attn.o.weight"].T
            return weight.reshape(-1, self.cfg.layers[at].d_head, weight.shape[-1])

        return self._layers("W_O", get)

    @property
    def W_in(self) -> LayerWeights:  # noqa: N802
        """Input weights of the MLP, [d_model, d_mlp] for each layer."""
        return self._transposed("W_in", "mlp.in")

    @property
    def W_gate(self) -> LayerWeights:  # noqa: N802
        """Gate weights of the MLP, [d_model, d_mlp] for each layer."""
        return self._transposed("W_gate", "mlp.gate")

    @property
    def W_out(self) -> LayerWeights:  # noqa: N802
        """Output weights of the MLP, [d_mlp, d_model] for each layer."""
        return self._transposed("W_out", "mlp.out")

    @property
    def W_E(self) -> Any:  # noqa: N802
        """The embedding, [d_vocab, d_model]; the model multiplies it by √d_model."""
        return self.weights["embed.weight"]

    @property
    def W_U(self) -> Any:  # noqa: N802
        """The unembedding, [d_model, d_vocab]."""
        return self.weights["unembed.weight"].T

    @property
    def b_Q(self) -> LayerWeights:  # noqa: N802
        """Query biases, [head, d_head] for each layer.

        The published Gemma 4 checkpoints have none: `b_Q[layer]` then raises AbsentWeightError.
        """
        return self._biases("b_Q", "attn.q", heads=True)

    @property
    def b_K(self) -> LayerWeights:  # noqa: N802
        """Key biases, [key_value_head, d_head] for each layer. As `b_Q`."""
        return self._biases("b_K", "attn.k", heads=True)

    @property
    def b_V(self) -> LayerWeights:  # noqa: N802
        """Value biases, [key_value_head, d_head] for each layer. As `b_Q`."""
        return self._biases("b_V", "attn.v", heads=True)

    @property
    def b_O(self) -> LayerWeights:  # noqa: N802
        """Output biases of attention, [d_model] for each layer. As `b_Q`."""
        return self._biases("b_O", "attn.o")

    @property
    def b_in(self) -> LayerWeights:
        """Input biases of the MLP. Gemma 4 has none: `b_in[layer]` raises an error."""
        return self._biases("b_in", "mlp.in")

    @property
    def b_out(self) -> LayerWeights:
        """Output biases of the MLP. Gemma 4 has none: `b_out[layer]` raises an error."""
        return self._biases("b_out", "mlp.out")

    @property
    def b_U(self) -> Any:  # noqa: N802
        """Zeros [d_vocab]: Gemma 4's unembedding has no bias."""
        row = self.weights.rows("unembed.weight", [0])
        if dtypes.is_torch(row):
            return row.new_zeros(self.cfg.d_vocab)
        return np.zeros(self.cfg.d_vocab, row.dtype)

    def tokens_to_residual_directions(self, tokens: Any) -> Any:
        """Returns the columns of the unembedding that belong to tokens. Only these are fetched.

        Args:
            tokens: a string that is one token, an id, or ids of any shape [...].

        Returns:
            [d_model] for one token, [..., d_model] for several.

        Raises:
            NotASingleTokenError: the string is not one token.
            TokenOutOfRangeError: the vocabulary does not have an id.
            ArgumentTypeError: neither a string nor ids.
            WeightsNotServedError: the server does not send its weights.
        """
        ids = words(tokens, "tokens", self._single_token, self.cfg.d_vocab)
        rows = self.weights.rows("unembed.weight", ids.reshape(-1))
        shape = ids.shape if ids.size > 1 else ()
        return rows.reshape(*shape, rows.shape[-1])

    def _single_token(self, text: str) -> int:
        raise NotImplementedError
