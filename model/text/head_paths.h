// Tensors that the pass makes only where a hook wants them: a separate input for each head
// (hook_q_input, hook_k_input, hook_v_input) and each head's own output (hook_result).
//
// They serve path patching and attribution. Rows and heads that the tap does not change keep the
// bits that they have without it.
#ifndef HOOKWIRE_MODEL_TEXT_HEAD_PATHS_H_
#define HOOKWIRE_MODEL_TEXT_HEAD_PATHS_H_

#include <optional>

#include "model/config/config.h"
#include "model/numerics.h"
#include "model/text/probe.h"
#include "model/text/weights.h"

namespace hookwire::model {

// The input of the query, key or value heads, where a tap has changed it.
struct HeadInput {
  Ragged shared;   // [rows, 1, d_model]: what all heads read otherwise
  Ragged written;  // [rows, head, d_model]
};

// Of hook_q_input, hook_k_input and hook_v_input; absent where the tap has not changed it.
struct HeadInputs {
  std::optional<HeadInput> q;
  std::optional<HeadInput> k;
  std::optional<HeadInput> v;
};

// Shows the residual stream [rows, d_model] as the input of each head.
HeadInputs VisitHeadInputs(const Config& config, int layer, const Ragged& stream,
                           const Probe& probe);

// Passes a changed input through ln1 and each head's slice of the projection. Returns `projected`
// [rows, head, d_head], in which the rows and heads with a changed input are replaced.
Ragged ProjectHeadInput(const Config& config, const at::Tensor& ln1, const Linear& projection,
                        const HeadInput& input, const Ragged& projected, Numerics numerics);

// Shows each head's own output: z [rows, head, d_head] × the head's slice of the output projection,
// [rows, head, d_model]. Returns `out` [rows, d_model] plus the sum of what the tap changed them
// by.
Ragged VisitHeadResults(const Linear& output, int layer, const Ragged& z, Ragged out,
                        const Probe& probe);

}  // namespace hookwire::model

#endif  // HOOKWIRE_MODEL_TEXT_HEAD_PATHS_H_
