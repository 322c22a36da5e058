#include "server/plan/check_fields.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/errors/status_macros.h"
#include "server/plan/field_path.h"
#include "server/plan/ops.h"

namespace hookwire::server {
namespace {

constexpr uint32_t kMinMessageBytes = 64u << 10;
constexpr uint32_t kMaxMessageBytes = 1u << 30;

absl::Status BadField(const FieldPath& path, const std::string& message) {
  return InputError(v1::ERROR_REASON_BAD_FIELD, path, message);
}

template <typename Enum>
absl::Status CheckEnum(Enum value, bool (*is_valid)(int), const char* known,
                       const FieldPath& path) {
  if (is_valid(value)) return absl::OkStatus();
  return BadField(path, absl::StrCat(path.str(), " is ", static_cast<int>(value),
                                     ", which this server does not know: it knows ", known));
}

absl::Status CheckDtype(v1::Dtype dtype, const FieldPath& path) {
  return CheckEnum(dtype, v1::Dtype_IsValid, "DTYPE_FLOAT32, _BFLOAT16, _FLOAT16, _FLOAT64, _INT64",
                   path);
}

absl::Status CheckSelection(bool present, const v1::Selection& selection, const FieldPath& path) {
  if (!present || selection.kind_case() != v1::Selection::KIND_NOT_SET) return absl::OkStatus();
  return BadField(path, absl::StrCat(path.str(),
                                     " selects nothing: set `indices` or `range`, or leave the "
                                     "selection out to mean the whole axis"));
}

// The selections, which captures and interventions both have.
template <typename Selecting>
absl::Status CheckSelections(const Selecting& from, const FieldPath& path) {
  if (from.hook().empty()) {
    return BadField(FieldPath(path, "hook"),
                    absl::StrCat(path.str(),
                                 " names no hook point: give a name or a glob, for "
                                 "example 'blocks.*.hook_out'"));
  }
  HOOKWIRE_RETURN_IF_ERROR(
      CheckSelection(from.has_positions(), from.positions(), FieldPath(path, "positions")));
  HOOKWIRE_RETURN_IF_ERROR(
      CheckSelection(from.has_heads(), from.heads(), FieldPath(path, "heads")));
  return CheckSelection(from.has_features(), from.features(), FieldPath(path, "features"));
}

absl::Status CheckCapture(const v1::Capture& capture, const FieldPath& path) {
  HOOKWIRE_RETURN_IF_ERROR(CheckSelections(capture, path));
  HOOKWIRE_RETURN_IF_ERROR(CheckDtype(capture.dtype(), FieldPath(path, "dtype")));
  HOOKWIRE_RETURN_IF_ERROR(CheckEnum(capture.moment(), v1::Moment_IsValid,
                                     "MOMENT_AFTER, MOMENT_BEFORE", FieldPath(path, "moment")));
  return CheckEnum(capture.missing(), v1::Missing_IsValid, "MISSING_ERROR, MISSING_SKIP",
                   FieldPath(path, "missing"));
}

absl::Status CheckValue(const v1::Value& value, const FieldPath& path) {
  if (value.kind_case() == v1::Value::KIND_NOT_SET) {
    return BadField(path, absl::StrCat(path.str(), " is missing: set `scalar` or `tensor`"));
  }
  if (value.kind_case() == v1::Value::kUpload) {
    // Interact has replaced uploads by tensors before planning.
    return BadField(FieldPath(path, "upload"),
                    absl::StrCat(path.str(), " is an upload, which only Interact takes"));
  }
  if (value.kind_case() != v1::Value::kTensor) return absl::OkStatus();
  const FieldPath tensor(path, "tensor");
  return CheckDtype(value.tensor().dtype(), FieldPath(tensor, "dtype"));
}

// "`set`, `add`, …"
std::string OpNames() {
  return absl::StrJoin(kOps, ", ", [](std::string* out, const Op& op) {
    absl::StrAppend(out, "`", OpName(op), "`");
  });
}

absl::Status CheckIntervention(const v1::Intervention& intervention, const FieldPath& path) {
  HOOKWIRE_RETURN_IF_ERROR(CheckSelections(intervention, path));
  const Op* const op = FindOp(intervention.op_case());
  if (op == nullptr) {
    return BadField(path, absl::StrCat(path.str(), " does nothing: set one of ", OpNames()));
  }
  const v1::Value* const value = SentValue(intervention);
  if (value == nullptr) return absl::OkStatus();
  const FieldPath op_path(path, OpName(*op));
  return CheckValue(*value, FieldPath(op_path, ValueName(*op)));
}

absl::Status CheckOutputs(const v1::Outputs& outputs, const FieldPath& path) {
  if (!outputs.has_logits()) return absl::OkStatus();
  const FieldPath logits(path, "logits");
  HOOKWIRE_RETURN_IF_ERROR(CheckSelection(outputs.logits().has_positions(),
                                          outputs.logits().positions(),
                                          FieldPath(logits, "positions")));
  return CheckDtype(outputs.logits().dtype(), FieldPath(logits, "dtype"));
}

absl::Status CheckMessageBytes(uint32_t bytes, const FieldPath& path) {
  if (bytes == 0 || (bytes >= kMinMessageBytes && bytes <= kMaxMessageBytes)) {
    return absl::OkStatus();
  }
  return BadField(
      path, absl::StrCat("max_message_bytes is ", bytes, ": it must lie between ", kMinMessageBytes,
                         " (64 KiB) and ", kMaxMessageBytes, " (1 GiB), or be 0 for 2 MiB"));
}

}  // namespace

absl::Status CheckFields(const v1::RunSpec& spec) {
  const FieldPath root("spec");
  for (int i = 0; i < spec.captures_size(); ++i) {
    HOOKWIRE_RETURN_IF_ERROR(CheckCapture(spec.captures(i), FieldPath(root, "captures", i)));
  }
  for (int i = 0; i < spec.interventions_size(); ++i) {
    HOOKWIRE_RETURN_IF_ERROR(
        CheckIntervention(spec.interventions(i), FieldPath(root, "interventions", i)));
  }
  HOOKWIRE_RETURN_IF_ERROR(CheckOutputs(spec.outputs(), FieldPath(root, "outputs")));
  HOOKWIRE_RETURN_IF_ERROR(CheckEnum(spec.priority(), v1::Priority_IsValid,
                                     "PRIORITY_LOW, PRIORITY_NORMAL, PRIORITY_HIGH",
                                     FieldPath(root, "priority")));
  return CheckMessageBytes(spec.max_message_bytes(), FieldPath(root, "max_message_bytes"));
}

absl::Status CheckFields(const v1::GetWeightRequest& request) {
  HOOKWIRE_RETURN_IF_ERROR(CheckSelection(request.has_rows(), request.rows(), FieldPath("rows")));
  return CheckMessageBytes(request.max_message_bytes(), FieldPath("max_message_bytes"));
}

}  // namespace hookwire::server
