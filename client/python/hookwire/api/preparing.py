"""From a call to a run that is ready to be sent."""

from __future__ import annotations

from typing import Any

from hookwire import errors
from hookwire.answer.run import Run
from hookwire.api.calls import Call
from hookwire.api.session import Session
from hookwire.api.standing import HooksInForce
from hookwire.ask import hooks, inputs, outputs, reach, request, starting
from hookwire.facts import characters
from hookwire.facts.dtypes import Array


def prepare(model: Session, call: Call, standing: HooksInForce) -> Run:
    """The run of a call.

    Args:
        model: that runs it.
        call: with its arguments.
        standing: the hooks that were in force when it was asked for.

    Raises:
        HookwireError: the request cannot be right; the server finds the rest.
    """
    # Before anything else of the load is read: see `Session._hold`.
    load_id = model._load_id
    first: tuple[tuple[Any, Any], ...] = ()
    start = reach.start(call.start, model.cfg.n_layers)
    tokens = getattr(call, "tokens", None)
    if start is None:
        if tokens is not None:
            raise errors.ArgumentError(
                "tokens= goes with start_at_layer; without it, they are the input"
            )
        batch = batch_of(model, call, call.input, "the input")
    else:
        stream = starting.residual(call.input, model.cfg.d_model)
        batch = _tokens_of(model, call, stream, tokens, start)
        first = (starting.hook(stream, start, batch),)
    targets = getattr(call, "targets", None)
    if targets is not None:
        targets = outputs.targets(targets, getattr(call, "pos", None), batch, model._single_token)
    ask = call.ask(
        hooks=(*first, *standing, *hooks.pairs(call.hooks)),
        n_standing=len(first) + len(standing),
        start_at_layer=start,
        targets=targets,
    )
    try:
        made = request.build(
            ask,
            batch,
            n_layers=model.cfg.n_layers,
            max_request_bytes=model.server.max_request_bytes,
            catalogue=model.catalogue,
            load_id=load_id,
        )
    except UnicodeEncodeError as error:
        # A name that no message of the wire can hold.
        characters.check(error.object, f"{error.object!r}")
        raise
    run = Run(model, made, call.progress, call.timeout)
    call.ready(run)
    return run


def batch_of(model: Session, call: Call, value: Any, what: str) -> inputs.Batch:
    """The rows of an input, with the options of a call.

    Args:
        model: that runs it.
        call: with its options.
        value: text or token ids, in any form of an input.
        what: the argument, for messages.

    Raises:
        HookwireError: it is no input.
    """
    pad = model.cfg.pad_token_id
    if model._warned_of_padding or pad in (model.cfg.bos_token_id, *model.cfg.eos_token_ids):
        pad = None
    made = inputs.batch(
        value,
        attention_mask=call.attention_mask,
        prepend_bos=call.prepend_bos,
        padding_side=call.padding_side,
        encoder=model._get_tokenizer,
        pad_token_id=pad,
        what=what,
    )
    model._warned_of_padding |= made.looks_padded
    return made


def _tokens_of(model: Session, call: Call, stream: Array, tokens: Any, start: int) -> inputs.Batch:
    """The tokens of a run that starts with a residual stream."""
    if tokens is not None:
        return batch_of(model, call, tokens, "tokens")
    reason = starting.why_tokens(start, model.cfg)
    if getattr(call, "return_type", None) in ("loss", "both"):
        reason = "the loss is that of the next tokens"
    if reason:
        raise errors.TokensNeededError(
            f"a run that starts at layer {start} needs tokens here: {reason}. Pass those of "
            "the residual stream as tokens=…"
        )
    return inputs.batch(
        starting.stand_ins(stream),
        attention_mask=call.attention_mask,
        encoder=model._get_tokenizer,
    )
