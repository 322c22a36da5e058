"""Several prompts in one run, against Transformers with the same batch."""

from __future__ import annotations

from bench.checkpoints import MID
from bench.figures import Row
from bench.rows.kind import TRANSFORMERS, Measure, Outputs, compare
from bench.workbench import Workbench

N_ROWS = 8
N_POS = 32


def batch(bench: Workbench, *, logits: bool) -> tuple[Row, ...]:
    """The output of the middle layer of every prompt, with or without logits of all positions."""
    model, reference = bench.daemon(MID).model, bench.baselines(MID).transformers
    tokens, name = MID.prompts(N_ROWS, N_POS), MID.middle

    def ours() -> Outputs:
        whole, cache = model.run_with_cache(
            tokens, names_filter=name, return_type="logits" if logits else None
        )
        return {name: cache[name], **({"logits": whole} if logits else {})}

    return compare(
        bench,
        f"batch{'-logits' if logits else ''}/{MID.name}",
        f"{MID.name}: {name} of {N_ROWS} prompts of {N_POS} tokens, "
        f"{'all' if logits else 'no'} logits",
        ours,
        {TRANSFORMERS: lambda: reference.run(tokens, MID.n_layers // 2, logits=logits)},
    )


ROWS: dict[str, Measure] = {
    f"batch/{MID.name}": lambda bench: batch(bench, logits=False),
    f"batch-logits/{MID.name}": lambda bench: batch(bench, logits=True),
}
