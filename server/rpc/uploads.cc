#include "server/rpc/uploads.h"

#include <limits>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/errors/errors.h"
#include "server/errors/status_macros.h"
#include "server/plan/dtypes.h"
#include "server/plan/ops.h"

namespace hookwire::server {
namespace {

absl::Status BadUpload(int intervention, const std::string& message) {
  return MakeError(
      message,
      {v1::ERROR_REASON_BAD_FIELD, absl::StrCat("spec.interventions[", intervention, "]"), {}});
}

// 0 if the dtype is unknown or the size overflows.
uint64_t BytesOf(const v1::UploadedValue& upload) {
  const at::ScalarType dtype = FromWire(upload.dtype());
  if (dtype == at::ScalarType::Undefined) return 0;
  uint64_t bytes = c10::elementSize(dtype);
  for (const uint64_t size : upload.shape()) {
    if (__builtin_mul_overflow(bytes, size, &bytes)) return 0;
  }
  return bytes;
}

}  // namespace

absl::StatusOr<Uploads> Uploads::Of(v1::RunSpec& spec, uint64_t max_bytes) {
  Uploads uploads;
  uint64_t total = 0;
  for (int i = 0; i < spec.interventions_size(); ++i) {
    v1::Value* const value = MutableSentValue(*spec.mutable_interventions(i));
    if (value == nullptr || !value->has_upload()) continue;
    const uint32_t number = value->upload().upload();
    const uint64_t bytes = BytesOf(value->upload());
    // Protobuf's limit for one bytes field, which this becomes.
    if (bytes == 0 || bytes > std::numeric_limits<int32_t>::max()) {
      return BadUpload(
          i, absl::StrCat("upload ", number, " has no dtype, no elements, or more than 2 GiB"));
    }
    total += bytes;
    if (number != uploads.values_.size()) {
      return BadUpload(i, absl::StrCat("uploads are numbered from 0 in the order of the "
                                       "interventions: expected ",
                                       uploads.values_.size(), ", not ", number));
    }
    uploads.values_.push_back({value, bytes});
  }
  if (total > max_bytes) {
    return MakeError(absl::StrCat("the uploaded values have ", total,
                                  " bytes together: this server takes ", max_bytes, " in one run"),
                     {v1::ERROR_REASON_VALUE_TOO_LARGE,
                      "spec.interventions",
                      {{"bytes", absl::StrCat(total)}, {"limit", absl::StrCat(max_bytes)}}});
  }
  uploads.bytes_ = total;
  return uploads;
}

absl::Status Uploads::Take(const v1::TensorChunks& pieces) {
  for (const v1::TensorChunk& piece : pieces.chunks()) {
    if (complete() || piece.tensor() != next_ || piece.offset() != data_.size() ||
        piece.data().size() > values_[next_].bytes - data_.size()) {
      return MakeError(
          absl::StrCat("bytes from ", piece.offset(), " on of upload ", piece.tensor(),
                       complete() ? " came after the last upload"
                                  : absl::StrCat(" came where those from ", data_.size(),
                                                 " on of upload ", next_, " were expected")),
          {v1::ERROR_REASON_UNEXPECTED_MESSAGE, "", {}});
    }
    // Otherwise the string could grow to twice the size.
    if (data_.empty()) data_.reserve(values_[next_].bytes);
    data_ += piece.data();
    if (data_.size() < values_[next_].bytes) continue;
    v1::Value& value = *values_[next_++].value;
    v1::TensorValue tensor;
    tensor.set_dtype(value.upload().dtype());
    *tensor.mutable_shape() = value.upload().shape();
    tensor.set_data(std::move(data_));
    data_.clear();
    *value.mutable_tensor() = std::move(tensor);
  }
  return absl::OkStatus();
}

}  // namespace hookwire::server
