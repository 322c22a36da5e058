"""The same names as in `hookwire`, as coroutines.

model = await hookwire.aio.connect("127.0.0.1:7431")
logits, cache = await model.run_with_cache(prompt, names_filter="blocks.*.hook_resid_post")
async for name, tensor in model.stream(prompt, "blocks.*.attn.hook_pattern"):
    ...
"""

from hookwire.api.asynchronous.model import AsyncRemoteModel, connect
from hookwire.api.asynchronous.serving import serve
from hookwire.api.asynchronous.streams import AsyncResultStream

__all__ = ["AsyncRemoteModel", "AsyncResultStream", "connect", "serve"]
