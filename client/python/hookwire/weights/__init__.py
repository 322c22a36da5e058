"""The model's parameters, each fetched from the server when it is first needed.

    model.weights["blocks.3.attn.q.weight"]
    model.weights.rows("unembed.weight", [17, 4021])  # these rows, and no others, travel

A name has two parts: the component's name, as in hook points, and the parameter's own. Tensors are
in the dtype that the server computes in, and in the checkpoint's orientation: `y = x @ weight.T`.
`model.W_Q[3]` and the like are the same matrices in TransformerLens's orientation (`named`).

Fetched parameters are kept in memory as long as the model. They are also kept on disk, under
`$XDG_CACHE_HOME/hookwire/weights` (`~/.cache` if that is not set), by the digest of the server's
weights: the next session with the same checkpoint does not fetch them again. A server that has just
started may still be computing its digest; the client does not wait for it, and uses the disk when
the server has a digest. `connect(cache_weights=False)` uses no disk.
"""

from hookwire.weights.disk import DiskCache, disk_cache, is_digest
from hookwire.weights.layers import LayerWeights
from hookwire.weights.named import NamedWeights
from hookwire.weights.parameters import Weights

__all__ = ["DiskCache", "LayerWeights", "NamedWeights", "Weights", "disk_cache", "is_digest"]
