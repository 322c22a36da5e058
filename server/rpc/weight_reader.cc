#include "server/rpc/weight_reader.h"

#include <google/protobuf/io/coded_stream.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "model/guard.h"
#include "server/errors/errors.h"
#include "server/errors/status_macros.h"
#include "server/plan/check_fields.h"
#include "server/plan/dtypes.h"
#include "server/plan/field_path.h"
#include "server/plan/selection.h"

namespace hookwire::server {
namespace {

using google::protobuf::io::CodedOutputStream;

constexpr uint32_t kDefaultMessageBytes = 2u << 20;
// Tag and length of the data.
constexpr uint64_t kDataHeadBytes = 16;
constexpr uint8_t kDataTag = v1::GetWeightResponse::kDataFieldNumber << 3 | 2;

grpc::Slice SliceOf(const google::protobuf::MessageLite& message) {
  grpc::Slice slice(message.ByteSizeLong());
  message.SerializeWithCachedSizesToArray(const_cast<uint8_t*>(slice.begin()));
  return slice;
}

}  // namespace

absl::StatusOr<WeightReader> WeightReader::Open(const model::Parameters* parameters,
                                                const v1::GetWeightRequest& request,
                                                std::string weights_digest) {
  if (parameters == nullptr) {
    return MakeError(
        "this server does not hand out its weights (it runs with --serve-weights "
        "false)",
        {v1::ERROR_REASON_WEIGHTS_NOT_SERVED, "", {}});
  }
  HOOKWIRE_RETURN_IF_ERROR(CheckFields(request));
  absl::StatusOr<at::Tensor> tensor = parameters->Find(request.name());
  if (!tensor.ok()) return WithField(tensor.status(), "name");

  WeightReader reader;
  reader.tensor_ = tensor->contiguous();
  const at::Tensor& weight = reader.tensor_;
  const int64_t n_rows = weight.size(0);
  Picker picker(request.has_rows() ? &request.rows() : nullptr);
  absl::StatusOr<AxisPick> rows = picker.Pick(n_rows, FieldPath("rows"), [&] {
    return AxisPlace{.kind = model::AxisKind::kFeature,
                     .name = "row",
                     .size = n_rows,
                     .hook = request.name(),
                     .sequence = 0,
                     .is_weight = true};
  });
  if (!rows.ok()) return rows.status();
  reader.rows_ = *std::move(rows);
  const auto count = static_cast<uint64_t>(reader.rows_.count);
  reader.row_bytes_ = weight.nbytes() / static_cast<uint64_t>(n_rows);
  reader.bytes_ = count * reader.row_bytes_;
  reader.together_ =
      weight.is_cpu() && reader.rows_.IsRange() && (reader.rows_.step == 1 || count == 1);
  reader.max_message_bytes_ =
      request.max_message_bytes() == 0 ? kDefaultMessageBytes : request.max_message_bytes();

  v1::WeightHeader& header = reader.header_.emplace();
  header.set_name(request.name());
  header.set_dtype(ToWire(weight.scalar_type()));
  header.add_shape(count);
  for (const int64_t size : weight.sizes().slice(1)) header.add_shape(static_cast<uint64_t>(size));
  header.set_n_rows(static_cast<uint64_t>(n_rows));
  header.set_bytes(reader.bytes_);
  header.set_weights_digest(std::move(weights_digest));
  return reader;
}

absl::StatusOr<std::optional<grpc::ByteBuffer>> WeightReader::Next() {
  if (sent_ == bytes_) return std::nullopt;
  v1::GetWeightResponse head;
  if (header_.has_value()) *head.mutable_header() = *std::exchange(header_, std::nullopt);
  head.set_offset(sent_);
  uint64_t size =
      std::min(bytes_ - sent_, max_message_bytes_ - head.ByteSizeLong() - kDataHeadBytes);
  grpc::Slice data;
  if (together_) {
    data = Over(RowBegin(0) + sent_, size);
  } else {
    size = std::min(size, kCopiedBytes);
    absl::StatusOr<grpc::Slice> copied = Copy(size);
    if (!copied.ok()) return copied.status();
    data = *std::move(copied);
  }
  sent_ += size;

  std::array<uint8_t, kDataHeadBytes> tag;
  tag[0] = kDataTag;
  const uint8_t* const end = CodedOutputStream::WriteVarint64ToArray(size, tag.data() + 1);
  const std::array<grpc::Slice, 3> parts = {
      SliceOf(head), grpc::Slice(tag.data(), static_cast<size_t>(end - tag.data())),
      std::move(data)};
  return grpc::ByteBuffer(parts.data(), parts.size());
}

uint64_t WeightReader::RowBegin(uint64_t i) const {
  const auto index = static_cast<int64_t>(i);
  const int64_t row = rows_.IsRange() ? rows_.start + index * rows_.step
                                      : rows_.indices.const_data_ptr<int64_t>()[index];
  return static_cast<uint64_t>(row) * row_bytes_;
}

grpc::Slice WeightReader::Over(uint64_t from, uint64_t size) const {
  // gRPC calls this on any thread: it only drops a reference.
  const auto destroy = [](void* held) { delete static_cast<at::Tensor*>(held); };
  auto* const begin = static_cast<const uint8_t*>(tensor_.const_data_ptr()) + from;
  return grpc::Slice(const_cast<uint8_t*>(begin), size, destroy, new at::Tensor(tensor_));
}

absl::StatusOr<grpc::Slice> WeightReader::Copy(uint64_t size) const {
  grpc::Slice out(size);
  auto* to = const_cast<uint8_t*>(out.begin());
  const absl::Status status = model::Guarded<absl::Status>([&] {
    uint64_t at = sent_;
    for (uint64_t left = size; left > 0;) {
      const uint64_t inside = at % row_bytes_;
      const uint64_t from = RowBegin(at / row_bytes_) + inside;
      const uint64_t bytes = std::min(left, row_bytes_ - inside);
      if (tensor_.is_cpu()) {
        std::memcpy(to, static_cast<const uint8_t*>(tensor_.const_data_ptr()) + from, bytes);
      } else {
        const at::Tensor part = tensor_.flatten().view(at::kByte).slice(
            0, static_cast<int64_t>(from), static_cast<int64_t>(from + bytes));
        std::memcpy(to, part.cpu().const_data_ptr(), bytes);
      }
      to += bytes;
      at += bytes;
      left -= bytes;
    }
    return absl::OkStatus();
  });
  if (!status.ok()) return status;
  return out;
}

}  // namespace hookwire::server
