#include "server/plan/request_cost.h"

#include <algorithm>
#include <limits>

#include "absl/container/flat_hash_set.h"
#include "server/plan/dtypes.h"
#include "server/plan/ops.h"

namespace hookwire::server {
namespace {

constexpr uint64_t kMost = std::numeric_limits<uint64_t>::max() / 4;
// The fixed part of any run: the plan, its stream and its entry in the queue.
constexpr uint64_t kRunBytes = 4096;
constexpr uint64_t kTensorBytes = 1024;
// A slice that an intervention changes or copies from: one pick of 48 bytes for each of 2 to 3
// axes.
constexpr uint64_t kSliceBytes = 256;

uint64_t Add(uint64_t a, uint64_t b) { return std::min(kMost, a + b); }
uint64_t Multiply(uint64_t a, uint64_t b) {
  uint64_t product = 0;
  return __builtin_mul_overflow(a, b, &product) ? kMost : std::min(kMost, product);
}

uint64_t Indices(const v1::Selection& selection) {
  return static_cast<uint64_t>(selection.indices().values_size());
}

// Of a Capture or an Intervention.
template <typename Selecting>
uint64_t Work(const Selecting& from, uint64_t n_sequences, uint64_t n_names) {
  const uint64_t sequences =
      from.sequences().empty() ? n_sequences : static_cast<uint64_t>(from.sequences_size());
  const uint64_t matches = model::Catalogue::IsGlob(from.hook()) ? n_names : 1;
  const uint64_t indices =
      Indices(from.positions()) + Indices(from.heads()) + Indices(from.features());
  return Add(n_names + Multiply(indices, sequences), Multiply(matches, sequences));
}

uint64_t Elements(const google::protobuf::RepeatedField<uint64_t>& shape) {
  uint64_t elements = 1;
  for (const uint64_t size : shape) elements = Multiply(elements, size);
  return elements;
}

uint64_t IndexBytes(const Slice& slice, absl::flat_hash_set<const void*>& counted) {
  uint64_t bytes = 0;
  for (const AxisPick& pick : slice.picks) {
    if (pick.IsRange() || !counted.insert(pick.indices.unsafeGetTensorImpl()).second) continue;
    bytes += pick.indices.nbytes();
  }
  return bytes;
}

template <typename Strings>
uint64_t TextBytes(const Strings& strings) {
  uint64_t bytes = 0;
  for (const std::string& text : strings) bytes += sizeof(std::string) + text.size();
  return bytes;
}

}  // namespace

uint64_t MatchingWork(uint64_t filters, const model::Catalogue& catalogue) {
  return Multiply(filters, static_cast<uint64_t>(catalogue.size()));
}

uint64_t PlanningWork(const v1::RunSpec& spec, const model::Catalogue& catalogue) {
  const auto n_names = static_cast<uint64_t>(catalogue.size());
  const auto n_sequences = static_cast<uint64_t>(spec.sequences_size());
  uint64_t work = n_sequences;
  for (const v1::Sequence& sequence : spec.sequences()) {
    work += static_cast<uint64_t>(sequence.token_ids_size());
  }
  for (const v1::Capture& capture : spec.captures()) {
    work = Add(work, Work(capture, n_sequences, n_names));
  }
  for (const v1::Intervention& intervention : spec.interventions()) {
    work = Add(work, Work(intervention, n_sequences, n_names));
    if (const v1::Value* const value = SentValue(intervention)) {
      // The value is copied and searched for NaN.
      work = Add(work, value->tensor().data().size() / 64);
    }
  }
  for (const v1::Targets& targets : spec.outputs().log_probs().targets()) {
    work += static_cast<uint64_t>(targets.positions_size());
  }
  return Add(work, Multiply(Indices(spec.outputs().logits().positions()), n_sequences));
}

uint64_t ValueBytes(const v1::RunSpec& spec, at::ScalarType compute) {
  const uint64_t element = c10::elementSize(compute);
  uint64_t bytes = 0;
  for (const v1::Intervention& intervention : spec.interventions()) {
    const v1::Value* const value = SentValue(intervention);
    if (value == nullptr) continue;
    // The size of the data limits the copy: if shape and data do not agree, planning fails before
    // it.
    if (value->has_tensor()) {
      const uint64_t sent = value->tensor().data().size();
      const at::ScalarType dtype = FromWire(value->tensor().dtype());
      if (dtype == at::ScalarType::Undefined) continue;
      bytes = Add(bytes, Multiply(sent / c10::elementSize(dtype), element));
    } else if (value->has_upload()) {
      bytes = Add(bytes, Multiply(Elements(value->upload().shape()), element));
    }
  }
  return bytes;
}

uint64_t HeldBytes(const RunPlan& plan) {
  absl::flat_hash_set<const void*> counted;
  uint64_t bytes = kRunBytes + plan.n_tensors * kTensorBytes + TextBytes(plan.skipped);
  for (const std::vector<int64_t>& sequence : plan.sequences) {
    bytes += sizeof(sequence) + sequence.size() * sizeof(int64_t);
  }
  const auto add_indices = [&](const std::vector<TensorPlan>& tensors) {
    for (const TensorPlan& tensor : tensors) bytes += IndexBytes(tensor.slice, counted);
  };
  for (const CapturePlan& capture : plan.captures) {
    bytes += TextBytes(capture.names) + capture.captures.size() * sizeof(uint32_t);
    add_indices(capture.tensors);
  }
  for (const OutputPlan& output : plan.outputs) {
    add_indices(output.tensors);
    for (const auto& positions : output.positions) bytes += 2 * positions.size() * sizeof(int64_t);
  }
  // A pass waits for the answers to one callback at a time.
  uint64_t answers = 0;
  for (const OpPlan& op : plan.ops) {
    bytes += kTensorBytes + (op.targets.size() + op.sources.size()) * kSliceBytes;
    for (const Slice& target : op.targets) bytes += IndexBytes(target, counted);
    for (const Slice& source : op.sources) bytes += IndexBytes(source, counted);
    if (op.value.defined() && counted.insert(op.value.unsafeGetTensorImpl()).second) {
      bytes += op.value.nbytes();
    }
    if (op.read_only) continue;
    uint64_t of_op = 0;
    for (const TensorPlan& tensor : op.tensors) of_op += tensor.bytes;
    answers = std::max(answers, of_op);
  }
  return Add(bytes, answers);
}

}  // namespace hookwire::server
