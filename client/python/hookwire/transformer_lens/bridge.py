"""TransformerLens's `RemoteBridge` over a server, without its limits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal, NoReturn

from transformer_lens.hook_points import HookPoint
from transformer_lens.model_bridge.bridge_core import BridgeCore
from transformer_lens.model_bridge.remote_bridge import RemoteBridge
from transformer_lens.utilities.slice import Slice

from hookwire import errors
from hookwire.api.blocking.model import RemoteModel
from hookwire.ask import hooks, reach
from hookwire.ask.filters import NamesFilter
from hookwire.errors import arguments
from hookwire.facts import not_here
from hookwire.facts.catalogue import HookDict
from hookwire.facts.not_here import NO_GRADIENTS
from hookwire.transformer_lens.driver import HookwireDriver
from hookwire.transformer_lens.specs import Hooks, changes


def _fire(tensor: Any, hook: Any, point: HookPoint) -> Any:
    """Calls what TransformerLens has put at a hook point, in its order."""
    return point(tensor)


def _functions(given: Any) -> Sequence[tuple[Any, Callable[..., Any]]]:
    """The entries of `fwd_hooks`, which are functions here.

    Raises:
        ArgumentTypeError: no list of pairs of a place and a function `(tensor, hook)`.
    """
    pairs = hooks.pairs(given)
    for where, what in pairs:
        if not isinstance(what, hooks.Callback):
            raise errors.ArgumentTypeError(
                f"a bridge's hooks are functions, and {what!r} at {where!r} is an op: give it to "
                "bridge.remote.run_with_hooks"
            )
    return [(where, function) for where, function in given]


@arguments.checked_methods("bridge")
class HookwireBridge(RemoteBridge):
    """A server as a `RemoteBridge`.

    Hooks are kept by TransformerLens, at its own `HookPoint`s, and fire while the pass waits: what
    they return, or edit in place, changes the computation. Names are those of the server, so that
    `hook_resid_mid`, `attn.hook_attn_scores` and the rotary tables are here what
    `model.remote.hook_dict[name]` describes.

    Attributes:
        remote: the `hookwire.RemoteModel`: weights, ops, streams and plans.
    """

    def __init__(self, adapter: Any, tokenizer: Any, driver: HookwireDriver) -> None:
        super().__init__(adapter, tokenizer, driver)
        self.remote: RemoteModel = driver.remote
        # In the order of the pass.
        names = self.remote.hook_names(aliases=False)
        self._hook_registry = {name: self._hook_registry[name] for name in names}

    @property
    def hook_dict(self) -> dict[str, HookPoint]:
        """TransformerLens's hook points by the server's names and aliases."""
        points = self.remote.catalogue().by_name()
        return HookDict({name: self._hook_registry[point.name] for name, point in points.items()})

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("_") or "remote" not in self.__dict__:
            raise errors.NoAttributeError(f"a bridge has no attribute {name!r}")
        if not name.startswith("_") and hasattr(type(self.remote), name) and name != "blocks":
            raise errors.NotHereError(f"a bridge has no {name}: bridge.remote.{name} is it")
        groups = (*not_here.MODEL, *not_here.EARLIER)
        not_here.missing("a bridge", name, groups, dir(type(self)))

    def forward(
        self,
        input: Any = None,  # noqa: A002 - TransformerLens's name
        return_type: str | None = "logits",
        loss_per_token: bool = False,
        prepend_bos: bool | None = None,
        padding_side: str | None = None,
        attention_mask: Any = None,
        labels: Any = None,
        start_at_layer: int | None = None,
        stop_at_layer: int | None = None,
        *,
        capture: Sequence[str] = (),
        intervene: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Any:
        """Runs the model, with the hooks that are at its hook points.

        Args:
            input: as in `hookwire.RemoteModel.__call__`; also lists of strings.
            return_type: as there, and whatever `RemoteBridge` knows.
            loss_per_token: as there.
            prepend_bos: as there.
            padding_side: as there.
            attention_mask: as there.
            labels: targets of the loss [batch, pos]; -100 leaves a position out.
            start_at_layer: as there; `tokens=…` goes alongside.
            stop_at_layer: as there.
            capture: hook points whose hooks only read: they see the tensors after the run, which
                does not wait for them.
            intervene: by name, `{"op": "suppress" | "scale" | "add" | "set", …}` or a function of a
                tensor; before the hooks.
            **options: keywords of `hookwire.RemoteModel.run_with_cache`.
        """
        capture = [capture] if isinstance(capture, str) else capture
        # Where the pass ends early there are no logits to compute anything from.
        computes_here = stop_at_layer is None and (
            labels is not None or return_type not in ("logits", "loss", "both", None)
        )
        output, cache = self.remote.run_with_cache(
            input,
            names_filter=list(capture),
            fwd_hooks=[
                *changes(self.remote, intervene),
                *self._hooks_in_force(start_at_layer, stop_at_layer, without=capture),
            ],
            return_type="logits" if computes_here else return_type,
            loss_per_token=loss_per_token and not computes_here,
            start_at_layer=start_at_layer,
            stop_at_layer=stop_at_layer,
            prepend_bos=prepend_bos,
            padding_side=padding_side,
            attention_mask=attention_mask,
            **options,
        )
        points = self.remote.catalogue().by_name()
        self._replay_captures({points[name].name: cache[name] for name in capture})
        if not computes_here:
            return output
        return self._finalize_return(
            return_type,
            output,
            self.to_tokens(input, prepend_bos, truncate=True, padding_side=padding_side)
            if isinstance(input, str)
            else input,
            attention_mask=attention_mask,
            labels=labels,
            loss_per_token=loss_per_token,
        )

    __call__ = forward

    def run_with_hooks(
        self,
        input: Any,  # noqa: A002 - TransformerLens's name
        fwd_hooks: Sequence[tuple[str | Callable[[str], bool], Callable[..., Any]]] = (),
        bwd_hooks: Sequence[Any] = (),
        reset_hooks_end: bool = True,
        clear_contexts: bool = False,
        return_type: str | None = "logits",
        stop_at_layer: int | None = None,
        start_at_layer: int | None = None,
        remove_batch_dim: bool = False,
        **options: Any,
    ) -> Any:
        """Runs the model with hooks that change the computation.

        Args: as in TransformerLens's `run_with_hooks`; `**options` as in `forward`.

        Raises:
            UnsupportedError: backward hooks (it is a NotImplementedError).
            NeverFiresError: a hook by name at a place that the run does not come to. A function of
                a name leaves such places out.
        """
        if bwd_hooks:
            raise errors.UnsupportedError(f"bwd_hooks are not supported: {NO_GRADIENTS}")
        within = self._reach(start_at_layer, stop_at_layer)
        fwd_hooks = _functions(fwd_hooks)
        for where, _ in fwd_hooks:
            if isinstance(where, str) and where in self.hook_dict:
                within.kept([where], repr(where))
        # Not RemoteBridge's, which warns that hooks change nothing.
        return BridgeCore.run_with_hooks(
            self,
            input,
            fwd_hooks=list(fwd_hooks),
            reset_hooks_end=reset_hooks_end,
            clear_contexts=clear_contexts,
            return_type=return_type,
            stop_at_layer=stop_at_layer,
            start_at_layer=start_at_layer,
            remove_batch_dim=remove_batch_dim,
            **options,
        )

    def run_with_cache(
        self,
        input: Any,  # noqa: A002 - TransformerLens's name
        return_cache_object: bool = True,
        remove_batch_dim: bool = False,
        names_filter: NamesFilter = None,
        stop_at_layer: int | None = None,
        start_at_layer: int | None = None,
        pos_slice: Any = None,
        incl_bwd: bool = False,
        reset_hooks_end: bool = True,
        clear_contexts: bool = False,
        *,
        intervene: Mapping[str, Any] | None = None,
        device: Any = None,
        **options: Any,
    ) -> tuple[Any, Any]:
        """Runs the model and returns what its hook points saw, after the hooks that are there.

        Args:
            input: as in `forward`.
            return_cache_object: as in `hookwire.RemoteModel.run_with_cache`.
            remove_batch_dim: as there.
            names_filter: as there, globs included.
            stop_at_layer: as there.
            start_at_layer: as there.
            pos_slice: as there; also TransformerLens's `Slice`.
            incl_bwd: not supported.
            reset_hooks_end: has no effect: captures are no hooks.
            clear_contexts: clear the `ctx` of the hook points in the cache.
            intervene: as in `forward`.
            device: where the cache's tensors go.
            **options: keywords of `hookwire.RemoteModel.run_with_cache`.

        Returns:
            What `return_type` says, and a `hookwire.ActivationCache`, whose decompositions know
            per-layer embeddings and layer scalars.
        """
        if incl_bwd:
            raise errors.UnsupportedError(f"incl_bwd is not supported: {NO_GRADIENTS}")
        del reset_hooks_end
        output, cache = self.remote.run_with_cache(
            input,
            remove_batch_dim=remove_batch_dim,
            names_filter=names_filter,
            stop_at_layer=stop_at_layer,
            start_at_layer=start_at_layer,
            pos_slice=pos_slice.slice if isinstance(pos_slice, Slice) else pos_slice,
            device=device,
            fwd_hooks=[
                *changes(self.remote, intervene),
                *self._hooks_in_force(start_at_layer, stop_at_layer),
            ],
            **options,
        )
        if clear_contexts:
            for name in cache:
                self.hook_dict[name].ctx.clear()
        return output, cache if return_cache_object else cache.cache_dict

    def to_tokens(
        self,
        input: Any,  # noqa: A002 - TransformerLens's name
        prepend_bos: bool | None = None,
        truncate: bool | None = None,
        *,
        padding_side: str | None = None,
    ) -> Any:
        """Text to token ids [batch, pos]. See `hookwire.Tokenizer.to_tokens`."""
        return self.remote.to_tokens(
            input, prepend_bos=prepend_bos, padding_side=padding_side, truncate=truncate
        )

    def to_string(self, tokens: Any) -> str | list[str]:
        """Token ids to text. See `hookwire.Tokenizer.to_string`."""
        return self.remote.to_string(tokens)

    def to_str_tokens(
        self,
        input: Any,  # noqa: A002 - TransformerLens's name
        prepend_bos: bool | None = None,
        padding_side: str | None = None,
    ) -> Any:
        """The text of each token. See `hookwire.Tokenizer.to_str_tokens`."""
        return self.remote.to_str_tokens(input, prepend_bos, padding_side)

    def to_single_token(self, string: str) -> int:
        """The id of a string that is one token. See `hookwire.Tokenizer.to_single_token`."""
        return self.remote.to_single_token(string)

    def add_hook(
        self,
        name: str | Callable[[str], bool],
        hook_fn: Any,
        dir: Literal["fwd", "bwd"] = "fwd",  # noqa: A002 - TransformerLens's name
        is_permanent: bool = False,
    ) -> None:
        """Adds a hook to every run from now on. See TransformerLens's `add_hook`.

        Raises:
            HookNotFoundError, AbsentHookError: no such hook point.
            UnsupportedError: `dir="bwd"` (it is a NotImplementedError).
        """
        if isinstance(name, str):
            self._check_name(name)
        hooks.Callback(hook_fn)
        super().add_hook(name, hook_fn, dir, is_permanent)

    def hooks(
        self,
        fwd_hooks: Sequence[tuple[str | Callable[[str], bool], Callable[..., Any]]] = (),
        bwd_hooks: Sequence[Any] = (),
        reset_hooks_end: bool = True,
        clear_contexts: bool = False,
    ) -> Any:
        """Adds hooks for the time of a block. See TransformerLens's `hooks`.

        Raises:
            UnsupportedError: backward hooks (it is a NotImplementedError).
            ArgumentTypeError: no list of pairs of a name and a function.
        """
        if bwd_hooks:
            raise errors.UnsupportedError(f"bwd_hooks are not supported: {NO_GRADIENTS}")
        return super().hooks(
            fwd_hooks=list(_functions(fwd_hooks)),
            reset_hooks_end=reset_hooks_end,
            clear_contexts=clear_contexts,
        )

    def check_hooks_to_add(
        self,
        hook_point: HookPoint,
        hook_point_name: str,
        hook: Callable[..., Any],
        dir: Literal["fwd", "bwd"] = "fwd",  # noqa: A002 - TransformerLens's name
        is_permanent: bool = False,
        prepend: bool = False,
    ) -> None:
        """Refuses backward hooks, which would never fire."""
        if dir != "fwd":
            raise errors.UnsupportedError(f"dir={dir!r} is not supported: {NO_GRADIENTS}")

    def _gated_hook_reason(self, hook_point_name: str) -> None:
        """Nothing has to be switched on: what nobody asks for is not computed."""

    def _resolve_hook_point(
        self, name: str, aliases: dict[str, str], hook_dict: dict[str, HookPoint]
    ) -> tuple[str, HookPoint]:
        self._check_name(name)
        resolved: tuple[str, HookPoint] = super()._resolve_hook_point(name, aliases, hook_dict)
        return resolved

    def _check_name(self, name: str) -> None:
        """Has the server say why there is no such hook point, and which name is meant."""
        if name not in self.remote.catalogue():
            self.remote.plan([[0]], names_filter=[name], return_type=None, attention_mask=[[1]])

    def _reach(self, start: int | None, stop: int | None) -> reach.Reach:
        n_layers = self.remote.cfg.n_layers
        return reach.Reach(
            self.remote.catalogue, reach.start(start, n_layers), reach.stop(stop, n_layers)
        )

    def _hooks_in_force(
        self, start: int | None, stop: int | None, without: Sequence[str] = ()
    ) -> Hooks:
        """What is at the hook points that a run comes to, as functions."""
        within, points = self._reach(start, stop), self.remote.catalogue().by_name()
        skipped = {points[name].name for name in without if name in points}
        return [
            (name, partial(_fire, point=point))
            for name, point in self._hook_registry.items()
            if point.fwd_hooks and name not in skipped and within.has(name)
        ]
