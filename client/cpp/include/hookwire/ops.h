// Builds the captures and interventions of a run.
//
//   *spec.add_captures() = Capture("blocks.*.hook_resid_post", {.pos = At(-1)});
//   *spec.add_interventions() = Scale("blocks.2.attn.hook_z", Scalar(0.5), {.head = At(3)});
//   *spec.add_interventions() = Copy("blocks.1.hook_resid_pre", 0, {.sequences = {1}});
#ifndef HOOKWIRE_CLIENT_CPP_OPS_H_
#define HOOKWIRE_CLIENT_CPP_OPS_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "absl/types/span.h"
#include "hookwire/v1/run.pb.h"

namespace hookwire::client {

// Selects one index of an axis. A negative one counts from the end of the axis, here and below.
v1::Selection At(int64_t index);
// Selects exactly these indices, in this order. The server refuses an empty list and repeats.
v1::Selection At(absl::Span<const int64_t> indices);
// Selects `start:stop:step`; std::nullopt for `stop` means the end of the axis. Unlike Python, the
// server refuses bounds outside the axis, and steps below 1.
v1::Selection Slice(int64_t start, std::optional<int64_t> stop = std::nullopt, int64_t step = 1);

// Selects a part of a hook point. A member that is not set selects the whole axis.
struct Where {
  // Numbers of the run's sequences; empty selects all.
  std::vector<uint32_t> sequences = {};
  // Positions; query positions for scores and pattern.
  std::optional<v1::Selection> pos = std::nullopt;
  // Heads; only at hook points with heads.
  std::optional<v1::Selection> head = std::nullopt;
  // Indices of the last axis; key positions for scores and pattern.
  std::optional<v1::Selection> feature = std::nullopt;
};

// One number for every selected element.
v1::Value Scalar(double number);
// A tensor that broadcasts against the selection of each sequence (NumPy's rules, right-aligned).
// REQUIRES: product(shape) == values.size().
v1::Value Float32(absl::Span<const float> values, absl::Span<const uint64_t> shape);
// A tensor of any floating-point dtype, as little-endian, row-major bytes. The server refuses it
// unless bytes.size() == product(shape) * ElementSize(dtype).
v1::Value Bytes(v1::Dtype dtype, absl::Span<const std::byte> bytes,
                absl::Span<const uint64_t> shape);

// Asks for the tensors of a hook point. `hook` is a name, an alias or a glob (`*` within a part of
// the name, `**` across parts). The server sends the tensors in `dtype`; unspecified means the hook
// point's own.
v1::Capture Capture(std::string_view hook, const Where& where = {},
                    v1::Dtype dtype = v1::DTYPE_UNSPECIFIED);

// x = value
v1::Intervention Set(std::string_view hook, const v1::Value& value, const Where& where = {});
// x = x + value
v1::Intervention Add(std::string_view hook, const v1::Value& value, const Where& where = {});
// x = x × factor
v1::Intervention Scale(std::string_view hook, const v1::Value& factor, const Where& where = {});
// x = 0
v1::Intervention Zero(std::string_view hook, const Where& where = {});
// x = the same selection at the same hook point of sequence `from_sequence` of this run.
v1::Intervention Copy(std::string_view hook, uint32_t from_sequence, const Where& where = {});

// A sequence of token ids.
v1::Sequence Tokens(absl::Span<const uint32_t> token_ids);

}  // namespace hookwire::client

#endif  // HOOKWIRE_CLIENT_CPP_OPS_H_
