// What exists only because somebody asks for it: a separate input for each head, and each head's
// own output.
//
// Both are there for path patching and attribution. What a tap leaves alone keeps the bits of the
// ordinary path.
#ifndef HOOKWIRE_MODEL_TEXT_HEAD_PATHS_H_
#define HOOKWIRE_MODEL_TEXT_HEAD_PATHS_H_

#include <optional>

#include "model/config/config.h"
#include "model/numerics.h"
#include "model/text/probe.h"
#include "model/text/weights.h"

namespace hookwire::model {

// One kind of head input after a visit that changed it.
struct HeadInput {
  Ragged shared;   // [rows, 1, d_model]: what every head read before
  Ragged written;  // [rows, head, d_model]
};

// hook_q_input, hook_k_input, hook_v_input; absent where nobody changed one.
struct HeadInputs {
  std::optional<HeadInput> q;
  std::optional<HeadInput> k;
  std::optional<HeadInput> v;
};

// Shows the residual stream [rows, d_model] as the input of each head.
HeadInputs VisitHeadInputs(const Config& config, int layer, const Ragged& stream,
                           const Probe& probe);

// Projects a changed input through ln1 and each head's slice of the projection. Returns `projected`
// [rows, head, d_head] with the rows and heads replaced whose input was changed.
Ragged ProjectHeadInput(const Config& config, const at::Tensor& ln1, const Linear& projection,
                        const HeadInput& input, const Ragged& projected, Numerics numerics);

// Shows each head's own output, z [rows, head, d_head] × its slice of the output projection: [rows,
// head, d_model]. Returns `out` [rows, d_model] plus what the tap added to them.
Ragged VisitHeadResults(const Linear& output, int layer, const Ragged& z, Ragged out,
                        const Probe& probe);

}  // namespace hookwire::model

#endif  // HOOKWIRE_MODEL_TEXT_HEAD_PATHS_H_
