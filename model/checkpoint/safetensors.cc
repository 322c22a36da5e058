#include "model/checkpoint/safetensors.h"

#include <ATen/ops/from_blob.h>

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "model/checkpoint/misplaced_file.h"

namespace hookwire::model {
namespace {

using Json = nlohmann::json;

// The largest header that the format allows.
constexpr uint64_t kMaxHeaderBytes = 100'000'000;

std::optional<at::ScalarType> DtypeOf(absl::string_view name) {
  static constexpr std::pair<absl::string_view, at::ScalarType> kDtypes[] = {
      {"F64", at::kDouble}, {"F32", at::kFloat}, {"F16", at::kHalf},  {"BF16", at::kBFloat16},
      {"I64", at::kLong},   {"I32", at::kInt},   {"I16", at::kShort}, {"I8", at::kChar},
      {"U8", at::kByte},    {"BOOL", at::kBool}};
  for (const auto& [key, dtype] : kDtypes) {
    if (key == name) return dtype;
  }
  return std::nullopt;
}

}  // namespace

absl::StatusOr<std::shared_ptr<const SafetensorsFile>> SafetensorsFile::Open(
    const std::string& path, os::System& system) {
  auto mapped = MappedFile::Open(path, system);
  if (!mapped.ok()) return mapped.status();
  std::shared_ptr<SafetensorsFile> file(new SafetensorsFile());
  file->file_ = *std::move(mapped);
  if (absl::Status status = file->ParseHeader(); !status.ok()) return status;
  return file;
}

absl::Status SafetensorsFile::ParseHeader() {
  const auto fail = [this](absl::string_view what) {
    return absl::InvalidArgumentError(
        absl::StrCat(path(), " is not a whole safetensors file: ", what));
  };
  if (const std::string what =
          MisplacedWeights({reinterpret_cast<const char*>(file_->data()), file_->size()});
      !what.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(path(), " is ", what));
  }
  if (file_->size() < sizeof(uint64_t)) return fail("it is shorter than its header");
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, file_->data(), sizeof(header_bytes));
  if (header_bytes > kMaxHeaderBytes) {
    return fail(absl::StrCat("its header claims ", header_bytes,
                             " bytes, more than the format allows; it may be in another format"));
  }
  if (header_bytes > file_->size() - sizeof(header_bytes)) {
    return fail(absl::StrCat("its header claims ", header_bytes, " bytes, and the file has ",
                             file_->size(), " in all: download it again"));
  }
  const char* text = reinterpret_cast<const char*>(file_->data()) + sizeof(header_bytes);
  const Json header = Json::parse(text, text + header_bytes, nullptr, /*allow_exceptions=*/false);
  if (header.is_discarded() || !header.is_object()) return fail("its header is not a JSON object");

  const size_t data_start = sizeof(header_bytes) + header_bytes;
  const size_t data_bytes = file_->size() - data_start;
  uint64_t needed_bytes = 0;
  std::vector<std::pair<size_t, size_t>> extents;
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") continue;
    const auto dtype = entry.find("dtype");
    const auto shape = entry.find("shape");
    const auto offsets = entry.find("data_offsets");
    if (!entry.is_object() || dtype == entry.end() || shape == entry.end() ||
        offsets == entry.end() || !dtype->is_string() || !shape->is_array() ||
        !offsets->is_array() || offsets->size() != 2 || !(*offsets)[0].is_number_unsigned() ||
        !(*offsets)[1].is_number_unsigned()) {
      return fail(absl::StrCat("the entry of ", name, " lacks dtype, shape or data_offsets"));
    }
    const auto begin = (*offsets)[0].get<uint64_t>();
    const auto end = (*offsets)[1].get<uint64_t>();
    if (begin > end) {
      return fail(absl::StrCat(name, " begins at byte ", begin, " and ends at byte ", end));
    }
    needed_bytes = std::max(needed_bytes, end);
    extents.emplace_back(begin, end);
    const auto& dtype_name = dtype->get_ref<const std::string&>();
    Entry parsed{.dtype = DtypeOf(dtype_name),
                 .dtype_name = dtype_name,
                 .shape = {},
                 .offset = data_start + begin,
                 .bytes = end - begin};
    if (!parsed.dtype) {
      // A tensor of a quantised vision tower, for example. Only Get of this tensor is an error.
      entries_.emplace(name, std::move(parsed));
      continue;
    }
    uint64_t bytes = c10::elementSize(*parsed.dtype);
    for (const Json& size : *shape) {
      if (!size.is_number_unsigned())
        return fail(absl::StrCat("the shape of ", name, " is no list of sizes"));
      const auto extent = size.get<uint64_t>();
      if (extent > (uint64_t{1} << 40) || __builtin_mul_overflow(bytes, extent, &bytes)) {
        return fail(absl::StrCat("the shape of ", name, " is too large"));
      }
      parsed.shape.push_back(static_cast<int64_t>(extent));
    }
    if (bytes != parsed.bytes) {
      return fail(
          absl::StrCat(name, " has ", parsed.bytes, " bytes where its shape needs ", bytes));
    }
    entries_.emplace(name, std::move(parsed));
  }
  if (needed_bytes > data_bytes) {
    return fail(absl::StrCat("its tensors need ", needed_bytes, " bytes, and it has ", data_bytes,
                             " of them: download it again"));
  }
  std::sort(extents.begin(), extents.end());
  for (size_t i = 1; i < extents.size(); ++i) {
    if (extents[i].first < extents[i - 1].second) return fail("tensors overlap");
  }
  return absl::OkStatus();
}

absl::StatusOr<at::Tensor> SafetensorsFile::Get(absl::string_view name) const {
  const auto it = entries_.find(name);
  if (it == entries_.end())
    return absl::NotFoundError(absl::StrCat(path(), " has no tensor ", name));
  const Entry& entry = it->second;
  if (!entry.dtype) {
    return absl::InvalidArgumentError(absl::StrCat(path(), ": ", name, " has dtype ",
                                                   entry.dtype_name, ", which is not supported"));
  }
  void* data = const_cast<std::byte*>(file_->data() + entry.offset);
  return at::from_blob(
      data, entry.shape, [file = file_](void*) {}, at::TensorOptions().dtype(entry.dtype));
}

std::vector<std::string> SafetensorsFile::names() const {
  std::vector<std::string> names;
  names.reserve(entries_.size());
  for (const auto& [name, entry] : entries_) names.push_back(name);
  return names;
}

}  // namespace hookwire::model
