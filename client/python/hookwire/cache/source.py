"""What a cache asks of the model that it comes from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from hookwire.facts.catalogue import Catalogue
from hookwire.facts.config import Config
from hookwire.weights import Weights


class Source(Protocol):
    """A model, as far as a cache needs it. Whatever is not here yet is fetched, which blocks."""

    @property
    def cfg(self) -> Config:
        """The model's configuration."""

    @property
    def weights(self) -> Weights:
        """The parameters by name."""

    @property
    def W_O(self) -> Sequence[Any]:  # noqa: N802 - TransformerLens's name
        """Output weights of attention, [head, d_head, d_model] a layer."""

    def catalogue(self) -> Catalogue:
        """The hook points."""

    def _single_token(self, text: str) -> int:
        """The id of a string that is one token."""

    def _ask_why(self, name: str) -> None:
        """Has the server refuse the name of a hook point that it does not have."""

    def _description(self) -> dict[str, Any]:
        """What makes a model like this one: its address, and what the server has said, as bytes."""

    def _again(self) -> tuple[Callable[[Any], Source], Any]:
        """What makes this model in another process: a function that pickles, and its argument."""
