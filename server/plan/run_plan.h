// A run, checked against the model: everything that execute/ needs, with every index resolved and
// every size known.
//
// Made by Planner (plan/planner.h), read by schedule/, execute/ and stream/. Immutable.
#ifndef HOOKWIRE_SERVER_PLAN_RUN_PLAN_H_
#define HOOKWIRE_SERVER_PLAN_RUN_PLAN_H_

#include <ATen/core/Tensor.h>
#include <c10/util/SmallVector.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "hookwire/v1/run.pb.h"
#include "model/adapter/catalogue.h"

namespace hookwire::server {

// The selected indices of one axis: non-negative and inside the axis. A list that is evenly spaced
// and ascending is stored as a range, so that equal picks compare equal and as many slices as
// possible are views.
struct AxisPick {
  // `count` indices, at least 1: start, start + step, …
  int64_t start = 0;
  int64_t step = 1;
  int64_t count = 0;
  // If defined: these indices, in this order, in place of the range; start is 0 and step 1. int64,
  // on the CPU, [count], shared by all picks that were made from one list.
  at::Tensor indices;

  bool IsRange() const { return !indices.defined(); }
  bool IsWhole(int64_t size) const { return IsRange() && start == 0 && step == 1 && count == size; }
};

// A run may have a hundred thousand tensors of at most three axes: for these, no list of axes is
// allocated.
using Picks = c10::SmallVector<AxisPick, 3>;
using Shape = c10::SmallVector<int64_t, 3>;

// The selection from one sequence's tensor at a hook point: one pick for each axis, outermost
// first.
struct Slice {
  int sequence = 0;
  Picks picks;
};

// Tensor number `index` of the result.
struct TensorPlan {
  uint32_t index = 0;
  Slice slice;
  Shape shape;
  uint64_t bytes = 0;
};

// The tensors that are sent of one hook point, with one selection, dtype and moment.
struct CapturePlan {
  model::HookId hook = model::kNoHook;
  bool before_interventions = false;
  at::ScalarType dtype = at::kFloat;  // on the wire
  std::vector<std::string> names;
  std::vector<uint32_t> captures;
  std::vector<TensorPlan> tensors;
};

// Which op, as the protocol numbers them: OpKind::kSet, … Each has a row in ops.h.
using OpKind = v1::Intervention::OpCase;

// One intervention at one hook point.
struct OpPlan {
  model::HookId hook = model::kNoHook;
  // Its number in RunSpec.interventions.
  uint32_t intervention = 0;
  OpKind kind = OpKind::kZero;
  std::vector<Slice> targets;
  // An op that sends a value: either a number, which is used as PyTorch uses Python's numbers, or a
  // tensor in the hook point's dtype that broadcasts to each target's selection.
  std::optional<double> scalar;
  at::Tensor value;
  // copy: the source for each target.
  std::vector<Slice> sources;
  // callback: the tensors that the client is shown, one for each target; it answers them unless
  // `read_only`.
  std::vector<TensorPlan> tensors;
  at::ScalarType dtype = at::kFloat;  // of these, on the wire
  bool read_only = false;

  // Whether the client is shown the targets.
  bool is_shown() const { return !tensors.empty(); }
};

// Outputs of one kind: logits, log-probabilities, or the residual stream at the end of the pass.
struct OutputPlan {
  v1::TensorGroup::Source source = v1::TensorGroup::SOURCE_UNSPECIFIED;
  at::ScalarType dtype = at::kFloat;
  // One for each sequence. For logits the picks are positions and words; the others have none.
  std::vector<TensorPlan> tensors;
  // Log-probabilities: of targets[s][i] at positions[s][i]. A sequence may have none at all (a
  // tensor of no bytes).
  std::vector<std::vector<int64_t>> positions;
  std::vector<std::vector<int64_t>> targets;
};

struct RunPlan {
  std::vector<std::vector<int64_t>> sequences;
  // In the order of the pass; tensors are numbered in this order, then those of `outputs`, then
  // those of callbacks in the order of `ops`.
  std::vector<CapturePlan> captures;
  // In request order.
  std::vector<OpPlan> ops;
  std::vector<OutputPlan> outputs;
  // Layers to run, 0 … n_layers.
  int n_layers_run = 0;
  // Whether the final norm and the unembedding run too.
  bool finish = false;
  uint64_t total_bytes = 0;
  uint64_t total_tokens = 0;
  // An upper bound of the memory of one of its passes (plan/activation_memory.h).
  uint64_t activation_bytes = 0;
  uint32_t n_tensors = 0;
  std::vector<std::string> skipped;

  // Whether the pass waits for answers of its client.
  bool waits_for_client() const {
    return std::any_of(ops.begin(), ops.end(),
                       [](const OpPlan& op) { return op.is_shown() && !op.read_only; });
  }
  // Whether NaN and infinity are accepted in answers to callbacks.
  bool allow_non_finite = false;
  // For the wire: whether several tensors of a capture may be given to the output together.
  bool join_tensors = false;
  // For the wire: at most this many bytes in a response message.
  uint32_t max_message_bytes = 2u << 20;
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_PLAN_RUN_PLAN_H_
