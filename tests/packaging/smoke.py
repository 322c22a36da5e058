"""Uses the installed package against a daemon on the toy. Runs in an environment of its own.

python -I smoke.py ADDRESS
"""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import TypeVar

import hookwire
import numpy as np
from hookwire import ops, plot

E = TypeVar("E", bound=Exception)


def raised_by(call: Callable[[], object], kind: type[E]) -> E:
    """The error that the call must raise."""
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__}")


address = sys.argv[1]
assert importlib.util.find_spec("torch") is None
assert Path(hookwire.__file__).is_relative_to(sys.prefix)
assert metadata.version("hookwire") == hookwire.__version__
assert (Path(hookwire.__file__).parent / "py.typed").exists()

clean = "When Mary and John went to the store , John gave a drink to"
corrupted = "When Mary and John went to the store , Mary gave a drink to"
with hookwire.connect(address, cache_weights=False) as model:
    logits, cache = model.run_with_cache(clean)
    assert isinstance(logits, np.ndarray)
    assert set(cache) == set(model.hook_names())
    assert model.to_single_str_token(int(logits[0, -1].argmax())) == "Mary"

    patch = ("blocks.5.hook_resid_pre", ops.copy(from_row=0, row=1, pos=-1))
    patched = model.run_with_hooks([clean, corrupted], fwd_hooks=[patch])
    assert model.to_single_str_token(int(patched[1, -1].argmax())) == "Mary"

    seen = []

    def double(resid: np.ndarray, hook: hookwire.Hook) -> np.ndarray:
        seen.append(hook.name)
        return resid * 2

    by_function = model.run_with_hooks(clean, fwd_hooks=[("blocks.2.hook_out", double)])
    as_data = model.run_with_hooks(clean, fwd_hooks=[("blocks.2.hook_out", ops.scale(2))])
    assert seen == ["blocks.2.hook_out"]
    assert np.allclose(by_function, as_data, atol=1e-5)

    parts = cache.decompose_resid()
    assert np.allclose(parts.sum(0), cache["resid_post", -1], atol=1e-4)
    assert model.W_E.shape == (model.cfg.d_vocab, model.cfg.d_model)

    error = raised_by(
        lambda: model.run_with_cache(clean, names_filter="blocks.0.hook_resid_pst"),
        hookwire.HookNotFoundError,
    )
    assert error.suggestion == "blocks.0.hook_resid_post"

# Pictures need an extra that is not installed here.
raised_by(lambda: plot.heatmap([[1.0]]), plot.MissingExtraError)

command = Path(sys.executable).with_name("hookwire")
told = subprocess.run(
    [command, "info", "--json", "--server", address], capture_output=True, text=True, check=True
)
assert json.loads(told.stdout)
