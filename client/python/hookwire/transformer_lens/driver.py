"""The forward pass, as TransformerLens's `Driver` asks for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transformer_lens.model_bridge.driver_protocol import (
    ForwardResult,
    Intervention,
    TensorLike,
)
from transformer_lens.model_bridge.sources._driver_base import DriverBase

from hookwire import errors
from hookwire.api.blocking.model import RemoteModel
from hookwire.transformer_lens.specs import changes


class HookwireDriver(DriverBase):
    """Runs passes on a server for a `RemoteBridge`: TransformerLens's protocol `Driver`.

    Attributes:
        remote: the connected model.
        supported_hook_points: the canonical names of all hook points.
    """

    provides_sequence_logits = True
    _supported_features = frozenset({"intervention_callbacks"})

    def __init__(self, remote: RemoteModel, bridge_config: Any, tokenizer: Any) -> None:
        super().__init__(bridge_config, tokenizer, architecture=remote.cfg.architecture)
        self.remote = remote
        self.supported_hook_points = frozenset(remote.hook_names(aliases=False))

    def forward(
        self,
        input_ids: TensorLike | None = None,
        *,
        capture: tuple[str, ...] = (),
        intervene: Mapping[str, Intervention] | None = None,
        max_new_tokens: int = 1,
        return_logits: bool = True,
        **options: Any,
    ) -> ForwardResult:
        """Runs one forward pass.

        Args:
            input_ids: any input of `RemoteModel.run_with_cache`. It must be given.
            capture: names of hook points to capture, after the interventions.
            intervene: from names of hook points to specs (see `specs`) or functions of a tensor.
                Default: none.
            max_new_tokens: must be 1.
            return_logits: False: return no logits, and end the pass after the last capture.
            **options: keywords of `RemoteModel.run_with_cache`.

        Returns:
            Logits [batch, pos, d_vocab] (with `stop_at_layer` the residual stream; None without
            `return_logits`), the captured tensors [batch, pos, …] by the names in `capture`, and
            the receipt as `raw_output`.

        Raises:
            ArgumentError: no `input_ids`.
            UnsupportedError: `max_new_tokens` is not 1.
            HookwireError: as in `RemoteModel.run_with_cache`.
        """
        if input_ids is None:
            raise errors.ArgumentError(
                "the driver's forward needs input_ids: a text, or token ids [batch, pos]"
            )
        if max_new_tokens != 1:
            raise errors.UnsupportedError(
                f"max_new_tokens={max_new_tokens} is not supported: the server does not generate "
                "yet, so it must be 1, one forward pass"
            )
        logits, cache = self.remote.run_with_cache(
            input_ids,
            names_filter=list(capture),
            fwd_hooks=changes(self.remote, intervene),
            return_type="logits" if return_logits else None,
            **options,
        )
        captured = {name: cache[name] for name in capture}
        if not return_logits:
            logits = None
        return ForwardResult(logits=logits, captured=captured, raw_output=cache.receipt)

    def close(self) -> None:
        """Closes the connection."""
        self.remote.close()
