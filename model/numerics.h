#ifndef HOOKWIRE_MODEL_NUMERICS_H_
#define HOOKWIRE_MODEL_NUMERICS_H_

namespace hookwire::model {

enum class Numerics {
  // Batches and fuses; within a stated tolerance of the reference.
  kFast,
  // Batches as far as a sequence's bits do not depend on which others share its pass: products
  // whose
  // rows are each computed by themselves, or in tiles of verified row counts; everything else a
  // sequence at a time. As exact as kFast.
  kInvariant,
  // Bit for bit what Transformers computes with eager attention for each sequence alone and
  // unpadded.
  kReference,
};

}  // namespace hookwire::model

#endif  // HOOKWIRE_MODEL_NUMERICS_H_
