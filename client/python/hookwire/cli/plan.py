"""`hookwire plan`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from hookwire.cli import captures, prompts
from hookwire.cli.settings import Settings, subcommand
from hookwire.facts.display import size

_EXAMPLES = """
hookwire plan "Mary gave a drink to" -c '**'
hookwire --json plan "Mary gave a drink to" -c 'blocks.*.hook_out' | jq .total_bytes
"""


@subcommand("plan", examples=_EXAMPLES)
@captures.options
def command(settings: Settings, prompt: str, ids: bool, bos: bool | None, **wanted: Any) -> None:
    """Show what a run would send.

    The server checks the request and says the names, shapes and exact bytes of the tensors; it runs
    nothing. The options are those of `hookwire run`.
    """
    output = settings.output()
    captures.check(**wanted)
    with settings.connect() as model:
        tokens = prompts.read(model, prompt, ids, bos)
        plan = model.plan(tokens.ids, **captures.arguments(len(tokens), **wanted))
    if output.json:
        output.document({"prompt": tokens.described(), **asdict(plan)})
        return
    output.table(
        ["tensor", "shape", "dtype", "bytes"],
        [
            [tensor.name, "×".join(map(str, tensor.shape)), tensor.dtype, f"{tensor.bytes:,}"]
            for tensor in plan.tensors
        ],
        right=(1, 3),
    )
    output.line()
    output.line(
        f"{size(plan.total_bytes)} in {len(plan.tensors)} tensors; {plan.total_tokens} tokens "
        f"through {plan.n_layers_run} layers"
    )
