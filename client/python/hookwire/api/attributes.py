"""Attributes that TransformerLens's model has too, and the errors for those that this one lacks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from hookwire import errors
from hookwire.errors import arguments
from hookwire.facts import config, not_here
from hookwire.facts.catalogue import Catalogue, HookDict, HookPoints

if TYPE_CHECKING:
    from typing_extensions import Self


@arguments.checked_methods("model")
class Attributes:
    """Hook points, device, dtype; and errors for what only TransformerLens's model has."""

    cfg: config.Config
    server: config.ServerInfo
    _use_torch: bool

    def catalogue(self) -> Catalogue:
        """The hook points."""
        raise NotImplementedError

    @property
    def hook_dict(self) -> dict[str, Any]:
        """The `HookPoint` of every name and alias, in the order of the pass.

        Looking up another name raises HookNotFoundError, which is a KeyError.
        """
        return HookDict(self.catalogue().by_name())

    def hook_names(self, aliases: bool = True) -> list[str]:
        """Returns the names of all hook points, in the order of the pass.

        Args:
            aliases: with the aliases too; False: the canonical names only.
        """
        every = self.catalogue()
        return list(every) if aliases else [point.name for point in every.points]

    def __setattr__(self, name: str, value: Any) -> None:
        try:
            if name in ("cfg", "server"):
                raise AttributeError
            super().__setattr__(name, value)
        except AttributeError:
            hint = ""
            if name == "tokenizer":
                hint = ". Its settings can be set: model.tokenizer.padding_side and the like"
            raise errors.ReadOnlyConfigError(
                f"model.{name} cannot be set: it belongs to what the server holds{hint}"
            ) from None

    @property
    def blocks(self) -> NoReturn:
        """Not available: the modules are on the server.

        Raises:
            NoModulesError: always; the message says what to use instead.
        """
        raise errors.NoModulesError(
            "the modules of a remote model are on the server, so there is no model.blocks: read "
            "and change activations by name, and take weights from model.W_Q[layer], "
            'model.weights["blocks.3.attn.q.weight"] and so on'
        )

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("_"):
            raise errors.NoAttributeError(f"a remote model has no attribute {name!r}")
        if hasattr(type(self), name):
            # A property has raised an AttributeError: its own is the better one.
            object.__getattribute__(self, name)
        groups = (*not_here.MODEL, *not_here.EARLIER)
        not_here.missing("a remote model", name, groups, dir(type(self)))

    def eval(self) -> Self:
        """Returns the model, which is always in evaluation mode."""
        return self

    @property
    def training(self) -> bool:
        """False: the model is never in training mode."""
        return False

    @property
    def device(self) -> Any:
        """Where result tensors are; `model.server.device` is where the server computes."""
        if not self._use_torch:
            return self.cfg.device
        import torch

        return torch.device(self.cfg.device)

    @property
    def dtype(self) -> Any:
        """The dtype that the server computes in, the same as `cfg.dtype`."""
        return self.cfg.dtype

    def hook_points(self) -> list[Any]:
        """Returns all `HookPoint`s, in the order of the pass. A notebook shows them as a table."""
        return HookPoints(self.catalogue().points)
