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
    """A model on a server, as one of TransformerLens's `RemoteBridge`s. `boot` returns one.

    TransformerLens keeps the hooks, at its own `HookPoint`s. They run while the pass waits: what
    they return, or change in place, changes the computation. Names mean what they mean on the
    server, also where TransformerLens differs (`hook_resid_mid`, `attn.hook_attn_scores` and the
    rotary tables): `bridge.remote.hook_dict[name]` describes each.

    Attributes:
        remote: the `hookwire.RemoteModel`, for weights, ops, streams and plans.
    """

    def __init__(self, adapter: Any, tokenizer: Any, driver: HookwireDriver) -> None:
        super().__init__(adapter, tokenizer, driver)
        self.remote: RemoteModel = driver.remote
        # In the order of the pass.
        names = self.remote.hook_names(aliases=False)
        self._hook_registry = {name: self._hook_registry[name] for name in names}

    @property
    def hook_dict(self) -> dict[str, HookPoint]:
        """TransformerLens's `HookPoint`s, by the server's names and aliases."""
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
        """Runs the model with the hooks that were added to its hook points.

        Args:
            input: as in `hookwire.RemoteModel.__call__`. It must be given.
            return_type: as in `hookwire.RemoteModel.__call__`, or any other that `RemoteBridge`
                accepts.
            loss_per_token: as in `hookwire.RemoteModel.__call__`.
            prepend_bos: as there. Default: the tokenizer's `default_prepend_bos`.
            padding_side: as there. Default: the tokenizer's.
            attention_mask: as there. Default: every id is a real token.
            labels: targets of the loss [batch, pos]; -100 leaves a position out. Default: the next
                tokens.
            start_at_layer: as there; pass the tokens as `tokens=…`. Default: start with the tokens.
            stop_at_layer: as there. Default: run all layers.
            capture: names of hook points whose hooks only read. Their hooks run after the pass,
                which does not wait for them.
            intervene: from names of hook points to specs, `{"op": "suppress" | "scale" | "add" |
                "set", …}`, or functions of a tensor. They apply before the hooks. Default: none.
            **options: keywords of `hookwire.RemoteModel.run_with_cache`.

        Returns:
            What `return_type` says: logits [batch, pos, d_vocab], a loss, both, or None; with
            `stop_at_layer`, the residual stream [batch, pos, d_model].

        Raises:
            Exception: an error of a hook ends the run, and this call raises it.
            HookwireError: as in `hookwire.RemoteModel.run_with_cache`.
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

        Args:
            input: as in `forward`.
            fwd_hooks: pairs of a name, or a function of a name, and a function `(tensor, hook)`.
            bwd_hooks: not supported: must be empty.
            reset_hooks_end: remove these hooks after the run.
            clear_contexts: empty `hook.ctx` when the hooks are removed.
            return_type: as in `forward`.
            stop_at_layer: as in `forward`. Default: run all layers.
            start_at_layer: as in `forward`. Default: start with the tokens.
            remove_batch_dim: remove the batch axis of the tensors that hooks get. The input must
                have a single row.
            **options: as in `forward`.

        Returns:
            As `forward`.

        Raises:
            UnsupportedError: backward hooks (it is a NotImplementedError).
            NeverFiresError: a hook is at a name that the run does not reach. A function of a name
                leaves such names out.
            HookwireError: as in `forward`.
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
        """Runs the model and returns the tensors at its hook points, as the hooks have left them.

        Args:
            input: as in `forward`.
            return_cache_object: return an `ActivationCache`; False: a plain dict.
            remove_batch_dim: remove the batch axis of the captured tensors. The input must have a
                single row.
            names_filter: as in `hookwire.RemoteModel.run_with_cache`. Default: all hook points.
            stop_at_layer: as in `forward`. Default: run all layers that the result needs.
            start_at_layer: as in `forward`. Default: start with the tokens.
            pos_slice: as in `hookwire.RemoteModel.run_with_cache`, or TransformerLens's `Slice`.
                Default: all positions.
            incl_bwd: not supported: must be False.
            reset_hooks_end: has no effect, as captures are not hooks.
            clear_contexts: empty `hook.ctx` of the hook points in the cache.
            intervene: as in `forward`. Default: none.
            device: where the cache's tensors go. Default: the CPU.
            **options: keywords of `hookwire.RemoteModel.run_with_cache`.

        Returns:
            A pair: what `return_type` says, and a `hookwire.ActivationCache` with tensors
            [batch, pos, …]. Its decompositions include per-layer embeddings and layer scalars.

        Raises:
            UnsupportedError: `incl_bwd` is given (it is a NotImplementedError).
            HookwireError: as in `hookwire.RemoteModel.run_with_cache`.
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
        """Encodes text as token ids, as `hookwire.Tokenizer.to_tokens` does.

        Args:
            input: a text, or a list of texts.
            prepend_bos: as there. Default: the tokenizer's `default_prepend_bos`.
            truncate: as there. Default: cut, with a warning.
            padding_side: as there. Default: the tokenizer's.

        Returns:
            Ids [batch, pos], int64.
        """
        return self.remote.to_tokens(
            input, prepend_bos=prepend_bos, padding_side=padding_side, truncate=truncate
        )

    def to_string(self, tokens: Any) -> str | list[str]:
        """Decodes token ids to text, as `hookwire.Tokenizer.to_string` does.

        Args:
            tokens: ids [pos] or [batch, pos].

        Returns:
            A string for [pos]; a list of strings for [batch, pos].
        """
        return self.remote.to_string(tokens)

    def to_str_tokens(
        self,
        input: Any,  # noqa: A002 - TransformerLens's name
        prepend_bos: bool | None = None,
        padding_side: str | None = None,
    ) -> Any:
        """Returns the text of each token, as `hookwire.Tokenizer.to_str_tokens` does.

        Args:
            input: a text, token ids [pos] or [1, pos], or a list of these.
            prepend_bos: for text: as in `to_tokens`.
            padding_side: for text: as in `to_tokens`.

        Returns:
            A list with a string for each token; for a list, a list of such lists.
        """
        return self.remote.to_str_tokens(input, prepend_bos, padding_side)

    def to_single_token(self, string: str) -> int:
        """Returns the id of a string that is one token.

        Args:
            string: the text of the token.

        Raises:
            NotASingleTokenError: the string is not exactly one token.
        """
        return self.remote.to_single_token(string)

    def add_hook(
        self,
        name: str | Callable[[str], bool],
        hook_fn: Any,
        dir: Literal["fwd", "bwd"] = "fwd",  # noqa: A002 - TransformerLens's name
        is_permanent: bool = False,
    ) -> None:
        """Adds a hook to every run from now on, as TransformerLens's `add_hook` does.

        Args:
            name: a name, an alias, or a function of a name.
            hook_fn: a function `(tensor, hook)`, with a tensor [batch, pos, …].
            dir: must be "fwd".
            is_permanent: keep the hook in `reset_hooks()`.

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
        """Adds hooks until a `with` block ends, as TransformerLens's `hooks` does.

        Args:
            fwd_hooks: pairs of a name, or a function of a name, and a function `(tensor, hook)`.
            bwd_hooks: not supported: must be empty.
            reset_hooks_end: remove the hooks at the end of the block.
            clear_contexts: empty `hook.ctx` when the hooks are removed.

        Returns:
            A context manager, which yields the bridge.

        Raises:
            UnsupportedError: backward hooks (it is a NotImplementedError).
            ArgumentTypeError: `fwd_hooks` is not a list of such pairs.
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
        """Refuses backward hooks, which would never run.

        TransformerLens calls it before it adds a hook.

        Args:
            hook_point: has no effect, as all arguments but `dir`.
            hook_point_name: has no effect.
            hook: has no effect.
            dir: "fwd" or "bwd".
            is_permanent: has no effect.
            prepend: has no effect.

        Raises:
            UnsupportedError: `dir` is "bwd".
        """
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
