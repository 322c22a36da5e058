#ifndef HOOKWIRE_MODEL_NUMERICS_H_
#define HOOKWIRE_MODEL_NUMERICS_H_

namespace hookwire::model {

enum class Numerics {
  // Sequences of a pass share operators, and fused kernels are used. The error of a single prompt,
  // against a computation in the next wider dtype, is at most 1.5 times that of Transformers
  // (tests/parity/tolerance.py).
  kFast,
  // The bits of a sequence do not depend on which others share its pass: matrix products compute
  // each row by itself, or in tiles of row counts that were tried out (FindRowTiles); every other
  // operator runs on one sequence at a time. As exact as kFast.
  kInvariant,
  // Bit for bit what Transformers computes with eager attention for each sequence alone, without
  // padding.
  kReference,
};

}  // namespace hookwire::model

#endif  // HOOKWIRE_MODEL_NUMERICS_H_
