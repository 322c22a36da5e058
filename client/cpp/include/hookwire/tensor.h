// One tensor of a run's result.
#ifndef HOOKWIRE_CLIENT_CPP_TENSOR_H_
#define HOOKWIRE_CLIENT_CPP_TENSOR_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/types/span.h"
#include "hookwire/v1/run.pb.h"

namespace hookwire::client {

// The size of one element in bytes; 0 for a dtype that this client does not know.
size_t ElementSize(v1::Dtype dtype);

// The values of one hook point, or one output, for one sequence. Owns its bytes; move-only. A
// tensor is created only when all its bytes have been received. Thread-compatible.
class Tensor {
 public:
  // REQUIRES: `data` holds exactly the bytes of tensor number `index` of `plan`, which is entry
  // `entry` of its group `group`.
  Tensor(std::shared_ptr<const v1::Plan> plan, uint32_t index, int group, int entry,
         std::unique_ptr<std::byte[]> data, size_t bytes);

  // Its number in the plan.
  uint32_t index() const { return index_; }
  // The canonical name of the hook point; "logits", "log_probs" or "residual" for an output.
  std::string_view name() const;
  // Whether `name` is its canonical name or one under which the run asked for it.
  bool HasName(std::string_view name) const;
  // What the tensors of this hook point have in common for all sequences: the names under which the
  // run asked for them, the captures that asked, the axes, the source.
  const v1::TensorGroup& group() const { return plan_->groups(group_); }

  // The number of its sequence in the run.
  uint32_t sequence() const { return planned().sequence(); }
  // The type of the elements.
  v1::Dtype dtype() const { return group().dtype(); }
  // The size of each axis, the outermost first.
  absl::Span<const uint64_t> shape() const;
  // The number of elements.
  size_t size() const { return bytes_ / ElementSize(dtype()); }
  // Little-endian, row-major, without padding; aligned for any element type.
  absl::Span<const std::byte> bytes() const { return {data_.get(), bytes_}; }
  // All elements, of any dtype. Exact except for int64 above 2^53.
  std::vector<double> ToDoubles() const;

 private:
  const v1::PlannedTensor& planned() const { return group().tensors(entry_); }

  std::shared_ptr<const v1::Plan> plan_;
  uint32_t index_;
  int group_;
  int entry_;
  std::unique_ptr<std::byte[]> data_;
  size_t bytes_;
};

}  // namespace hookwire::client

#endif  // HOOKWIRE_CLIENT_CPP_TENSOR_H_
