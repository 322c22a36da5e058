#include "hookwire/ops.h"

#include <string>

namespace hookwire::client {
namespace {

// Captures and interventions have the same fields for selections.
template <typename Message>
Message Select(std::string_view hook, const Where& where) {
  Message message;
  message.set_hook(std::string(hook));
  message.mutable_sequences()->Add(where.sequences.begin(), where.sequences.end());
  if (where.pos) *message.mutable_positions() = *where.pos;
  if (where.head) *message.mutable_heads() = *where.head;
  if (where.feature) *message.mutable_features() = *where.feature;
  return message;
}

}  // namespace

v1::Selection At(int64_t index) { return At(absl::MakeConstSpan(&index, 1)); }

v1::Selection At(absl::Span<const int64_t> indices) {
  v1::Selection selection;
  selection.mutable_indices()->mutable_values()->Add(indices.begin(), indices.end());
  return selection;
}

v1::Selection Slice(int64_t start, std::optional<int64_t> stop, int64_t step) {
  v1::Selection selection;
  v1::Range& range = *selection.mutable_range();
  range.set_start(start);
  if (stop) range.set_stop(*stop);
  range.set_step(step);
  return selection;
}

v1::Value Scalar(double number) {
  v1::Value value;
  value.set_scalar(number);
  return value;
}

v1::Value Float32(absl::Span<const float> values, absl::Span<const uint64_t> shape) {
  return Bytes(v1::DTYPE_FLOAT32,
               absl::MakeConstSpan(reinterpret_cast<const std::byte*>(values.data()),
                                   values.size() * sizeof(float)),
               shape);
}

v1::Value Bytes(v1::Dtype dtype, absl::Span<const std::byte> bytes,
                absl::Span<const uint64_t> shape) {
  v1::Value value;
  v1::TensorValue& tensor = *value.mutable_tensor();
  tensor.set_dtype(dtype);
  tensor.mutable_shape()->Add(shape.begin(), shape.end());
  tensor.set_data(bytes.data(), bytes.size());
  return value;
}

v1::Capture Capture(std::string_view hook, const Where& where, v1::Dtype dtype) {
  auto capture = Select<v1::Capture>(hook, where);
  capture.set_dtype(dtype);
  return capture;
}

v1::Intervention Set(std::string_view hook, const v1::Value& value, const Where& where) {
  auto intervention = Select<v1::Intervention>(hook, where);
  *intervention.mutable_set()->mutable_value() = value;
  return intervention;
}

v1::Intervention Add(std::string_view hook, const v1::Value& value, const Where& where) {
  auto intervention = Select<v1::Intervention>(hook, where);
  *intervention.mutable_add()->mutable_value() = value;
  return intervention;
}

v1::Intervention Scale(std::string_view hook, const v1::Value& factor, const Where& where) {
  auto intervention = Select<v1::Intervention>(hook, where);
  *intervention.mutable_scale()->mutable_factor() = factor;
  return intervention;
}

v1::Intervention Zero(std::string_view hook, const Where& where) {
  auto intervention = Select<v1::Intervention>(hook, where);
  intervention.mutable_zero();
  return intervention;
}

v1::Intervention Copy(std::string_view hook, uint32_t from_sequence, const Where& where) {
  auto intervention = Select<v1::Intervention>(hook, where);
  intervention.mutable_copy()->set_from_sequence(from_sequence);
  return intervention;
}

v1::Sequence Tokens(absl::Span<const uint32_t> token_ids) {
  v1::Sequence sequence;
  sequence.mutable_token_ids()->Add(token_ids.begin(), token_ids.end());
  return sequence;
}

}  // namespace hookwire::client
