"""What a run captured, and what TransformerLens computes from it.

`activation_cache` holds the class; `captured` finds a tensor by any of its names; `residual` takes
the residual stream apart by layer, `contributions` further, by head and neuron; `norms` puts parts
through a norm with the scale that it had; `logits` and `lens` read parts through the unembedding;
`slices` and `arrays` are what TransformerLens's slices, and torch or NumPy, are to all of these;
`saved` is a cache as a file.
"""

from hookwire.cache.activation_cache import ActivationCache
from hookwire.cache.lens import LogitLens
from hookwire.cache.slices import Slice

__all__ = ["ActivationCache", "LogitLens", "Slice"]
