// One safetensors file, mapped read-only.
//
// Format: an 8-byte little-endian header length, a JSON header, then the tensors' bytes
// (https://github.com/huggingface/safetensors#format). Offsets are checked once, in Open; reads
// need no check after that.
#ifndef HOOKWIRE_MODEL_CHECKPOINT_SAFETENSORS_H_
#define HOOKWIRE_MODEL_CHECKPOINT_SAFETENSORS_H_

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "model/checkpoint/mapped_file.h"

namespace hookwire::model {

class SafetensorsFile {
 public:
  // As MappedFile::Open; InvalidArgument where it is not a whole safetensors file.
  static absl::StatusOr<std::shared_ptr<const SafetensorsFile>> Open(
      const std::string& path, os::System& system = os::RealSystem());

  bool Has(absl::string_view name) const { return entries_.contains(name); }
  // A tensor that is a view of the mapped bytes, and keeps them mapped. Its memory is read-only:
  // writing to it ends the process. InvalidArgument if its dtype is not supported (a quantised
  // format's, for example).
  absl::StatusOr<at::Tensor> Get(absl::string_view name) const;
  std::vector<std::string> names() const;
  const std::string& path() const { return file_->path(); }
  const std::shared_ptr<const MappedFile>& mapped() const { return file_; }

 private:
  struct Entry {
    // nullopt if `dtype_name` is unknown; shape and bytes are then not checked.
    std::optional<at::ScalarType> dtype;
    std::string dtype_name;
    std::vector<int64_t> shape;
    size_t offset;  // from the start of the file
    size_t bytes;
  };

  SafetensorsFile() = default;
  absl::Status ParseHeader();

  std::shared_ptr<const MappedFile> file_;
  absl::flat_hash_map<std::string, Entry> entries_;
};

}  // namespace hookwire::model

#endif  // HOOKWIRE_MODEL_CHECKPOINT_SAFETENSORS_H_
