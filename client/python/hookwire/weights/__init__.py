"""The model's parameters, each fetched from the server when it is first needed.

    model.weights["blocks.3.attn.q.weight"]
    model.weights.rows("unembed.weight", [17, 4021])  # these rows, and no others, travel

A name is the component's (as in hook points) and the parameter's own. Tensors are as the server
computes with them: in its dtype, and oriented as the checkpoint has them, `y = x @ weight.T`. The
matrices in TransformerLens's orientation are `model.W_Q[3]` and its kin (`named`).

What has been fetched is kept: in memory for as long as the model is, and on disk under
`$XDG_CACHE_HOME/hookwire/weights` (`~/.cache` where that is not set), by the digest of the server's
weights, so that the next session, and any other with the same checkpoint, needs no transfer. A
server that has just started may still be computing its digest; until it has one, nothing is looked
up on disk, and nothing is waited for. `connect(cache_weights=False)` uses no disk.
"""

from hookwire.weights.disk import DiskCache, disk_cache, is_digest
from hookwire.weights.layers import LayerWeights
from hookwire.weights.named import NamedWeights
from hookwire.weights.parameters import Weights

__all__ = ["DiskCache", "LayerWeights", "NamedWeights", "Weights", "disk_cache", "is_digest"]
