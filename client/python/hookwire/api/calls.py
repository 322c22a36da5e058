"""The calls of a model, each written once: its arguments, the run that they ask for, its result.

A call is a frozen dataclass. `client/python/generate_models.py` makes the methods of both models
from these classes. The arguments of a method are the fields of its class and of the base classes,
with their defaults and documentation; those in `by_position` come first, in TransformerLens's
order. So a new argument is a field here and, if it belongs to the request, a field of the same name
in `hookwire.ask.asked.Ask`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from hookwire import errors
from hookwire.answer.run import Run
from hookwire.api.session import Session
from hookwire.ask import inputs
from hookwire.ask.asked import Ask
from hookwire.ask.filters import NamesFilter
from hookwire.cache import ActivationCache
from hookwire.facts import dtypes, selection
from hookwire.facts.not_here import refuse
from hookwire.wire.peer import seconds

Hooks = Sequence[tuple[Any, Any]]


@dataclass(frozen=True, kw_only=True)
class Call:
    """What every call takes.

    Attributes:
        input: a text; a list of texts; or token ids as a flat list, as lists that may differ in
            length, or as a NumPy or torch array [pos] or [batch, pos]; or the mapping that a
            Hugging Face tokenizer returns.
        prepend_bos: put a beginning-of-sequence token before text. Default: the tokenizer's
            `default_prepend_bos`, which is True unless you set it.
        padding_side: for rows of different lengths: "left" or "right". Default: the tokenizer's.
        attention_mask: [batch, pos] of 0 and 1, for token ids with padding. Default: every id is a
            real token.
        missing: "error", or "skip", which leaves out, with a warning, names that only other layers
            or models have. A name that no Gemma 4 has, and a layer after the last, remain errors.
        allow_non_finite: accept NaN and infinity in values of ops.
        max_result_bytes: refuse the run if its result would have more bytes. Default: the server's
            limit.
        priority: "low", "normal" or "high": the order of this client's runs, and the client's share
            of the device while other clients' runs are in the queue.
        dtype: of captured tensors, such as "float32". Default: each hook point's own.
        moment: capture "after" or "before" the ops at the same hook point.
        progress: show a progress bar. Default: for large results, on a terminal or in a notebook.
        timeout: seconds for the whole run. Default: no limit.
    """

    method: ClassVar[str]
    """The name of the method."""
    returns: ClassVar[str] = "Any"
    """The type of what the method returns."""
    does: ClassVar[str] = "_call"
    """The method of the model that carries out the call."""
    by_position: ClassVar[str]
    """The arguments that can be given by position, in their order."""
    without: ClassVar[str] = ""
    """The fields of the base classes that are not arguments."""

    input: Any
    prepend_bos: bool | None = None
    padding_side: str | None = None
    attention_mask: Any = None
    missing: str = "error"
    allow_non_finite: bool = False
    max_result_bytes: int | None = None
    priority: str = "normal"
    dtype: Any = None
    moment: str = "after"
    progress: bool | None = None
    timeout: float | None = None

    def check(self, model: Session) -> None:
        """Checks what can be checked before anything is asked of the server."""
        del model
        seconds(self.timeout)

    @property
    def hooks(self) -> Hooks:
        """The changes of this run alone, without the hooks that stay from run to run."""
        hooks: Hooks = getattr(self, "fwd_hooks", ())
        return hooks

    @property
    def start(self) -> Any:
        """The layer to start at, as it was given; None: the run starts with its tokens."""
        return getattr(self, "start_at_layer", None)

    def needs_tokenizer(self) -> bool:
        """Whether the run cannot be prepared without the tokenizer."""
        text = self.input if self.start is None else getattr(self, "tokens", None)
        return inputs.needs_tokenizer(text, self.padding_side)

    def ask(self, **more: Any) -> Ask:
        """The request: the fields that an `Ask` has too, and these."""
        names = [one.name for one in fields(Ask) if hasattr(self, one.name)]
        return Ask(**{name: getattr(self, name) for name in names if name != "hooks"} | more)

    def ready(self, run: Run) -> None:
        """Checks the run before it is sent."""

    def after(self, model: Session, run: Run) -> None:
        """Does what is due when the run has ended, also after an error."""

    def result(self, model: Session, run: Run) -> Any:
        """What the call returns."""
        del model
        return run.output()


@dataclass(frozen=True, kw_only=True)
class Pass(Call):
    """A forward pass, or a part of one.

    Attributes:
        input: a text; a list of texts; or token ids as a flat list, as lists that may differ in
            length, or as a NumPy or torch array [pos] or [batch, pos]; or the mapping that a
            Hugging Face tokenizer returns. With `start_at_layer`: the residual stream that enters
            that layer, [batch, pos, d_model].
        return_type: "logits" [batch, pos, d_vocab]; "loss", the cross entropy of the next tokens in
            nats, −ln p, computed on the server in float32; "both", the pair (logits, loss); or
            None. With `stop_at_layer`, "logits" and None return the residual stream instead.
        loss_per_token: return the loss of each token, [batch, pos - 1], instead of the mean over
            real tokens. A row with a single token has no loss: see NothingToPredictError.
        logits_pos: return logits of these positions only: an int, a list or a slice. Default: all.
            Positions are counted in each row's own tokens, so -1 is every row's last token,
            wherever its padding is. The axis stays.
        start_at_layer: start at this layer. The input is then the residual stream that enters it.
            Negative counts from the last. Default: start with the tokens. A name before this layer
            is an error; globs, functions and None leave out such names.
        stop_at_layer: end the pass before this layer, and return the residual stream that enters
            it, [batch, pos, d_model]. Negative counts from the last; `n_layers` returns what enters
            the final norm. Default: run all layers that the result needs. A name after that layer
            is an error; globs, functions and None leave out such names.
        tokens: with `start_at_layer`: the tokens of the residual stream, in any form of an input.
            Default: none. A run needs them if later layers use more than the stream (per-layer
            embeddings, or keys and values of layers before the start, which are those of the
            tokens' own pass), and for the loss.
    """

    input: Any

    return_type: str | None = "logits"
    loss_per_token: bool = False
    logits_pos: Any = None
    start_at_layer: int | None = None
    stop_at_layer: int | None = None
    tokens: Any = None

    def ask(self, **more: Any) -> Ask:
        """The request."""
        returned = self.return_type
        if (
            self.stop_at_layer is not None
        ):  # then None returns the stream too, as in TransformerLens
            returned = returned or "logits"
        return super().ask(**{"return_type": returned, **more})


@dataclass(frozen=True, kw_only=True)
class Forward(Pass):
    """Runs the model.

    Attributes:
        labels: not supported: must be None. For other targets than the next token use `log_probs`.

    Returns:
        What `return_type` says.

    Raises:
        UnsupportedError: `labels` is given.
        HookwireError: as in `run_with_cache`.
    """

    method = "__call__"
    by_position = (
        "input return_type loss_per_token prepend_bos padding_side attention_mask labels "
        "start_at_layer stop_at_layer"
    )

    labels: Any = None

    def check(self, model: Session) -> None:
        """Checks what can be checked before anything is asked of the server."""
        super().check(model)
        refuse(labels=self.labels)


@dataclass(frozen=True, kw_only=True)
class Hooked(Pass):
    """A pass with changes.

    Attributes:
        fwd_hooks: pairs (where, what). Where: a name, an alias, a glob, a short name with its
            layer, such as ("resid_post", 3), a list of these, or a function that is called with
            each name and returns whether it is meant. What: a function `(tensor, hook)`, which runs
            in this process (see `hookwire.Hook`), or an op of `hookwire.ops`, which the server
            applies. Several hooks at one hook point apply in this order.
        reset_hooks_end: False keeps the hooks after the run, as `add_hook` does.
        clear_contexts: after the run, empty `hook.ctx` of the hook points that have these hooks or
            are captured.
        remove_batch_dim: remove the batch axis of the captured tensors, and of the tensors that
            functions get. The input must have a single row.
    """

    fwd_hooks: Hooks = ()
    reset_hooks_end: bool = True
    clear_contexts: bool = False
    remove_batch_dim: bool = False

    def ready(self, run: Run) -> None:
        """Refuses more than one row before the run, not after it."""
        rows = len(run.request.batch)
        if self.remove_batch_dim and rows != 1:
            raise errors.ArgumentError(
                f"remove_batch_dim=True needs a single row; the input has {rows}"
            )


@dataclass(frozen=True, kw_only=True)
class RunWithHooks(Hooked):
    """Runs the model with changes.

    Attributes:
        bwd_hooks: not supported: must be empty.

    Returns:
        What `return_type` says.

    Raises:
        Exception: an error of a function ends the run, and this call raises it.
        UnsupportedError: `bwd_hooks` is given.
        ReadOnlyHookError: an op at a hook point that cannot be written.
        ValueShapeError: a value that does not broadcast to the selected part.
        HookTimeoutError: a function took long, and another run needed its place.
        HookwireError: as in `run_with_cache`.
    """

    method = "run_with_hooks"
    by_position = (
        "input fwd_hooks bwd_hooks reset_hooks_end clear_contexts return_type stop_at_layer "
        "start_at_layer remove_batch_dim"
    )

    bwd_hooks: Sequence[Any] = ()

    def check(self, model: Session) -> None:
        """Checks what can be checked before anything is asked of the server."""
        super().check(model)
        refuse(bwd_hooks=self.bwd_hooks)

    def ready(self, run: Run) -> None:
        """Looks at the run before it is sent."""
        super().ready(run)
        run.functions_see_no_batch = self.remove_batch_dim

    def after(self, model: Session, run: Run) -> None:
        """Keeps hooks and empties contexts, as the arguments say."""
        del run
        model._after_hooks(self.fwd_hooks, self.reset_hooks_end, self.clear_contexts)


@dataclass(frozen=True, kw_only=True)
class RunWithCache(Hooked):
    """Runs the model and returns the tensors at its hook points.

    Attributes:
        return_cache_object: return an `ActivationCache`; False: a plain dict.
        names_filter: which hook points: None for all; a name, an alias or a glob (`*` matches any
            characters except dots, `**` matches dots too); a short name, as a cache takes it:
            ("q", 3), or "q" for every layer that has it; a list of these; or a function that is
            called with every name and alias. If you name an alias, the cache also has the canonical
            name; with a glob or a function, it has the names that match. Tensors are captured after
            the changes of `fwd_hooks`, unless `moment` is "before".
        pos_slice: the positions to capture at every hook point (query positions of scores and
            pattern): an int, which keeps the axis, a list, a slice, or a tuple with the arguments
            of a slice. Default: all. They count in the padded rows.
        incl_bwd: not supported: must be False.
        device: where torch tensors of the cache go. Default: the CPU.

    Returns:
        A pair: what `return_type` says, and the cache, with tensors [batch, pos, …].
        `cache.mask` says which positions are real.

    Raises:
        UnsupportedError: `incl_bwd` is given, or another feature that Hookwire does not have.
        ArgumentError, ArgumentTypeError: an argument that cannot be.
        HookNotFoundError, AbsentHookError, GlobNoMatchError: no such hook point.
        NeverFiresError: a hook point outside the layers that run.
        TokenOutOfRangeError, SequenceTooLongError: a prompt that the model cannot read.
        ResultTooLargeError, PassTooLargeError, TooManyTokensError: above the server's limits.
        QueueFullError, QueueTimeoutError: the server has too many runs; try again later.
        DeadlineError: the run took longer than `timeout`.
        UnavailableError: no server answers.
        LoadChangedError: the server was restarted with another load; see `reconnect`.
        HookwireError: the base of all these, and of the rarer ones in `hookwire.errors`.

    Warns:
        ResultSizeWarning: before the run starts, if the result has over 64 MiB.
        NonFiniteWarning: the result has NaN or infinity.
        SkippedWarning: `missing="skip"` has left out names.
        PaddingWarning: token ids look padded, and there is no mask.
    """

    method = "run_with_cache"
    returns = "tuple[Any, Any]"
    by_position = (
        "input return_cache_object remove_batch_dim names_filter stop_at_layer start_at_layer "
        "pos_slice incl_bwd reset_hooks_end clear_contexts"
    )

    return_cache_object: bool = True
    names_filter: NamesFilter = None
    pos_slice: Any = None
    incl_bwd: bool = False
    device: Any = None

    def check(self, model: Session) -> None:
        """Checks what can be checked before anything is asked of the server."""
        super().check(model)
        refuse(incl_bwd=self.incl_bwd)
        if self.device is not None:
            dtypes.check_device(self.device, model._use_torch)

    def after(self, model: Session, run: Run) -> None:
        """Keeps hooks and empties contexts, as the arguments say."""
        model._after_hooks(self.fwd_hooks, self.reset_hooks_end, self.clear_contexts)
        if self.clear_contexts:
            model._clear_contexts_of(run.captured_hooks())

    def result(self, model: Session, run: Run) -> tuple[Any, Any]:
        """What the call returns."""
        cache = ActivationCache(
            run.captured(),
            model=model,
            mask=run.mask,
            receipt=run.receipt,
            batch=len(run.request.batch),
        )
        if self.remove_batch_dim:
            cache = cache.remove_batch_dim()
        if self.device is not None:
            cache = cache.to(self.device)
        return run.output(), cache if self.return_cache_object else cache.cache_dict


@dataclass(frozen=True, kw_only=True)
class Map(RunWithCache):
    """Runs many prompts, and yields for each what `run_with_cache` returns for it alone.

        async for logits, cache in model.map(prompts, "blocks.*.hook_in", logits_pos=-1):
            ...

    Prompts of one length share a run, so that none is padded. Results come in the order of the
    prompts, and are the same as alone (with the server's `--numerics=fast`: within its tolerance).
    With functions among the hooks, and with ops that have rows or a value of two or more axes, each
    prompt is a run of its own. If the server's queue is full, the client sends the run again later.
    The receipt of a cache is that of the run that its prompt shared.

    Attributes:
        prompts: an iterable of prompts: texts, or token ids [pos]. It is read little by little, and
            may be a generator.
        batch_size: how many prompts share a run, at most. The client reads eight times as many
            prompts ahead to find those of one length, and keeps their results in memory until
            their turn comes.
        remove_batch_dim: remove the batch axis of the captured tensors, and of the tensors that
            functions get.
        progress: show a bar of prompts. Default: on a terminal or in a notebook.
        queue_timeout: for how many seconds to go on sending a run for which the server has no room.
        timeout: seconds for one run. Default: no limit.

    Returns:
        An iterator over pairs: what `return_type` says, and the cache, as of a batch of one.

    Raises:
        HookwireError: as in `run_with_cache`. The message, and `metadata["prompt"]`, name the
            prompt that caused it, counted from 0. The iterator ends there; it skips no prompt.
    """

    method = "map"
    returns = "AsyncIterator[tuple[Any, Any]]"
    does = "_map"
    by_position = "prompts names_filter"
    without = (
        "input attention_mask padding_side start_at_layer tokens incl_bwd reset_hooks_end "
        "clear_contexts return_cache_object"
    )

    input: Any = None
    prompts: Any
    batch_size: int = 32
    queue_timeout: float = 300.0

    def check(self, model: Session) -> None:
        """Checks what can be checked before anything is asked of the server."""
        super().check(model)
        seconds(self.queue_timeout)
        if selection.integer(self.batch_size, "batch_size") < 1:
            raise errors.ArgumentError(f"batch_size must be at least 1, not {self.batch_size}")
        if isinstance(self.prompts, (str, Mapping)) or not dtypes.is_iterable(self.prompts):
            raise errors.ArgumentTypeError(
                f"prompts must be a list of prompts, not {errors.shown(self.prompts)}"
            )

    def run(self, rows: list[list[int]]) -> RunWithCache:
        """The run of some prompts, of one length."""
        given = {one.name: getattr(self, one.name) for one in fields(RunWithCache)}
        alone = len(rows) == 1
        given.update(input=rows, progress=False, remove_batch_dim=alone and self.remove_batch_dim)
        return RunWithCache(**given)


@dataclass(frozen=True, kw_only=True)
class DryRun(RunWithCache):
    """Says what `run_with_cache` with the same arguments would send, and runs nothing.

    The arguments that say what happens to the result (return_cache_object, reset_hooks_end,
    clear_contexts, device) have no effect here.

    Returns:
        A `Plan`: names, shapes, dtypes and exact bytes. Printing it shows a table.

    Raises:
        HookwireError: as in `run_with_cache`: what the run would be refused for.
    """

    method = "plan"
    returns = "Plan"
    does = "_plan"
    by_position = "input names_filter"

    def check(self, model: Session) -> None:
        """Checks what can be checked before anything is asked of the server."""
        Call.check(self, model)  # no tensor goes anywhere
        refuse(incl_bwd=self.incl_bwd)


@dataclass(frozen=True, kw_only=True)
class Stream(Call):
    """Runs the model and yields each tensor as soon as it is complete.

        async for name, tensor in model.stream(prompt, "blocks.*.hook_resid_post"):
            ...

    A tensor is complete when all its rows have arrived. The server divides a run with more tokens
    than one pass takes (`--max-batch-tokens`: by default 1024 on cpu, else 8192) into several
    passes, with some rows in each. Tensors are then complete in the last pass only. To get tensors
    earlier, ask for fewer rows at a time.

    Attributes:
        names_filter: as in `run_with_cache`. Default: all hook points.
        fwd_hooks: changes, as in `run_with_hooks`.
        pos_slice: as in `run_with_cache`. Default: all positions.
        stop_at_layer: as in `run_with_cache`. Default: run all layers that the result needs.
        return_type: as in `run_with_cache`; the outputs come as "logits", "log_probs" (for a loss)
            and "residual" (with `stop_at_layer`). None, the default: no outputs.
        logits_pos: as in `run_with_cache`. Default: all positions.

    Returns:
        An iterator over `Activation`s: a name and a tensor [batch, pos, …] each. Closing it
        cancels the run.

    Raises:
        HookwireError: as in `run_with_cache`, mostly while the iterator is read.
    """

    method = "stream"
    returns = "AsyncResultStream"
    does = "_stream"
    by_position = "input names_filter"

    names_filter: NamesFilter = None
    fwd_hooks: Hooks = ()
    pos_slice: Any = None
    stop_at_layer: int | None = None
    return_type: str | None = None
    logits_pos: Any = None


@dataclass(frozen=True, kw_only=True)
class LogProbs(Call):
    """Returns natural-log probabilities of target tokens, which the server computes in float32.

    A value is ln softmax(logits)[target], of the logits after the final softcap.

    Attributes:
        targets: tokens (ids, or strings that are one token): one; a list of them for every row; or
            a list for each row, of equal length. None: the next token of each position.
        pos: the position that predicts the targets, or a list with one for each target. Counted in
            each row's own tokens, so that -1 is every row's last. Has no effect without targets.
        fwd_hooks: changes, as in `run_with_hooks`.

    Returns:
        Float32 [batch, target], or without targets [batch, pos - 1], with zeros at padding.

    Raises:
        NotASingleTokenError: a target is a string that is not one token.
        PositionOutOfRangeError: a row does not have the position.
        NothingToPredictError: no targets are given, and no row has a next token.
        HookwireError: as in `run_with_cache`.
    """

    method = "log_probs"
    by_position = "input targets pos"

    wants_log_probs: ClassVar[bool] = True

    targets: Any = None
    pos: Any = -1
    fwd_hooks: Hooks = ()

    def needs_tokenizer(self) -> bool:
        """Whether the run cannot be prepared without the tokenizer."""
        return self.targets is not None or super().needs_tokenizer()

    def result(self, model: Session, run: Run) -> Any:
        """What the call returns."""
        del model
        return run.log_probs()
