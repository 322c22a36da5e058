"""What a run captured, and what TransformerLens computes from it.

`activation_cache` has the class, and `captured` its mapping from names to tensors. `residual`
splits the residual stream into layers, and `contributions` into heads and neurons. `norms` applies
a norm to parts, with the scale that it had in the run; `logits` and `lens` apply the unembedding to
them. `slices` has TransformerLens's slices, `arrays` the functions that torch and NumPy have in
common, and `saved` the file format of a cache.
"""

from hookwire.cache.activation_cache import ActivationCache
from hookwire.cache.lens import LogitLens
from hookwire.cache.slices import Slice

__all__ = ["ActivationCache", "LogitLens", "Slice"]
