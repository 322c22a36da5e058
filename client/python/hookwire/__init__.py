"""Read and change the activations of a language model that runs on another machine.

    import hookwire
    from hookwire import ops

    model = hookwire.connect("127.0.0.1:7431")
    logits, cache = model.run_with_cache("When Mary and John went to the store")
    cache["pattern", 5]  # [batch, head, pos, key_pos]
    patched = model.run_with_hooks(prompt, fwd_hooks=[("blocks.3.hook_resid_pre", ops.zero(pos=9))])

`hookwire.connect` returns a `RemoteModel`, and `hookwire.serve` starts a server and yields its
model. `hookwire.ops` has the changes that the server applies, and `hookwire.plot` the pictures.
`hookwire.patching.sweep` patches activations at all layers and positions. `hookwire.aio` has the
same names as coroutines. `hookwire.transformer_lens.boot` returns one of TransformerLens's own
models. Every error is a `HookwireError`.
"""

from typing import TYPE_CHECKING

from hookwire import errors, ops
from hookwire.answer.plan import Plan, PlannedTensor
from hookwire.answer.run import Activation
from hookwire.api.active import ActiveHook, ActiveHooks
from hookwire.api.blocking.model import RemoteModel, connect
from hookwire.api.blocking.serving import serve
from hookwire.api.blocking.streams import ResultStream
from hookwire.api.saved import load_cache
from hookwire.ask.hooks import Hook, read_only
from hookwire.cache import ActivationCache
from hookwire.errors import *  # noqa: F403 - every error and warning, by its __all__
from hookwire.facts.catalogue import HookPoint
from hookwire.facts.config import Config, LayerConfig, Receipt, ServerInfo, ServerLoad
from hookwire.facts.names import get_act_name
from hookwire.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from hookwire import aio, patching, plot, transformer_lens  # noqa: F401 - the last is optional

__version__ = "0.1.0"

__all__ = [
    "Activation",
    "ActivationCache",
    "ActiveHook",
    "ActiveHooks",
    "Config",
    "Hook",
    "HookPoint",
    "LayerConfig",
    "Plan",
    "PlannedTensor",
    "Receipt",
    "RemoteModel",
    "ResultStream",
    "ServerInfo",
    "ServerLoad",
    "Tokenizer",
    "aio",
    "connect",
    "errors",
    "get_act_name",
    "load_cache",
    "ops",
    "patching",
    "plot",
    "read_only",
    "serve",
    *errors.__all__,
]


def __dir__() -> list[str]:
    """What is public, with the modules that are imported at their first use."""
    return sorted([*__all__, "__version__", "transformer_lens"])


def __getattr__(name: str) -> object:
    """Imports `hookwire.aio`, `.patching`, `.plot`, `.transformer_lens` at their first use."""
    if name in ("aio", "patching", "plot", "transformer_lens"):
        import importlib

        return importlib.import_module(f"hookwire.{name}")
    from hookwire.errors.nearest import nearest

    near = nearest(name, [*__all__, *globals()], 1)
    hint = f"; did you mean hookwire.{near[0]}?" if near else ""
    raise errors.NoAttributeError(f"module {__name__!r} has no attribute {name!r}{hint}")
