"""A server as one of TransformerLens's own models.

    from hookwire.transformer_lens import boot

    bridge = boot("127.0.0.1:7431")     # a transformer_lens.model_bridge.RemoteBridge
    logits, cache = bridge.run_with_cache("When Mary and John went to the store")
    bridge.run_with_hooks(prompt, fwd_hooks=[("blocks.2.attn.hook_z", knock_out)])

It is for code that needs an object of TransformerLens's classes; everything else is simpler with
`hookwire.connect`. It needs TransformerLens 4.3: `pip install "hookwire[transformer-lens]"`.

Beyond what TransformerLens's `RemoteBridge` can do, functions as hooks can change the computation,
passes can start and stop at a layer, and prompts can come in batches. There are no gradients and no
`generate`.
"""

from __future__ import annotations

from hookwire.errors import MissingExtraError

try:
    import transformer_lens.model_bridge.remote_bridge  # noqa: F401 - to say what is missing
except ImportError as error:
    raise MissingExtraError(
        f"hookwire.transformer_lens needs TransformerLens 4.3, which cannot be imported ({error}): "
        'pip install "hookwire[transformer-lens]"'
    ) from error

from hookwire.transformer_lens.boot import boot
from hookwire.transformer_lens.bridge import HookwireBridge
from hookwire.transformer_lens.driver import HookwireDriver

__all__ = ["HookwireBridge", "HookwireDriver", "boot"]
