"""Several prompts in one run, against Transformers with the same batch."""

from __future__ import annotations

from functools import partial

from bench.baselines import Logits
from bench.checkpoints import MID, MID_BF16, Checkpoint
from bench.figures import Row
from bench.rows.kind import TRANSFORMERS, Measure, Outputs, compare, unrounded
from bench.workbench import Workbench

N_ROWS = 8
N_POS = 32
KINDS: dict[str, Logits] = {"batch": "no", "batch-logits": "all"}


def batch(checkpoint: Checkpoint, bench: Workbench, *, logits: Logits) -> tuple[Row, ...]:
    """The output of the middle layer of every prompt, with or without logits of all positions."""
    model, reference = bench.daemon(checkpoint).model, bench.baselines(checkpoint).transformers
    tokens, name = checkpoint.prompts(N_ROWS, N_POS), checkpoint.middle

    def ours() -> Outputs:
        whole, cache = model.run_with_cache(
            tokens, names_filter=name, return_type="logits" if logits == "all" else None
        )
        return {name: cache[name], **({"logits": whole} if logits == "all" else {})}

    def theirs() -> Outputs:
        return reference.run(tokens, [checkpoint.n_layers // 2], logits)

    return compare(
        bench,
        f"batch{'' if logits == 'no' else '-logits'}/{checkpoint.name}",
        f"{checkpoint.name}: {name} of {N_ROWS} prompts of {N_POS} tokens, {logits} logits",
        ours,
        {TRANSFORMERS: theirs},
        exact=unrounded(checkpoint, theirs),
    )


ROWS: dict[str, Measure] = {
    f"{kind}/{checkpoint.name}": partial(batch, checkpoint, logits=logits)
    for kind, logits in KINDS.items()
    for checkpoint in (MID, MID_BF16)
}
