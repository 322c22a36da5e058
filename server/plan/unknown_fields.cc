#include "server/plan/unknown_fields.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/unknown_field_set.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "server/errors/errors.h"
#include "server/errors/status_macros.h"
#include "server/plan/field_path.h"

namespace hookwire::server {
namespace {

namespace pb = google::protobuf;

absl::Status UnknownField(const pb::Message& message, int number, const FieldPath& path) {
  const std::string at = path.str();
  const std::string field = absl::StrCat(at, at.empty() ? "" : ".", number);
  return MakeError(
      absl::StrCat("field ", number, " of ", message.GetDescriptor()->full_name(),
                   at.empty() ? "" : absl::StrCat(" at ", at),
                   " is not known to this server, and leaving it out would change what the request "
                   "means: use a server that knows it, or do not set it"),
      {v1::ERROR_REASON_UNKNOWN_FIELD, field, {{"field", field}}});
}

absl::Status Check(const pb::Message& message, const FieldPath& path) {
  const pb::Reflection& reflection = *message.GetReflection();
  const pb::UnknownFieldSet& unknown = reflection.GetUnknownFields(message);
  if (!unknown.empty()) return UnknownField(message, unknown.field(0).number(), path);

  const pb::Descriptor& type = *message.GetDescriptor();
  for (int i = 0; i < type.field_count(); ++i) {
    const pb::FieldDescriptor* field = type.field(i);
    if (field->cpp_type() != pb::FieldDescriptor::CPPTYPE_MESSAGE) continue;
    if (field->is_repeated()) {
      const int size = reflection.FieldSize(message, field);
      for (int j = 0; j < size; ++j) {
        HOOKWIRE_RETURN_IF_ERROR(Check(reflection.GetRepeatedMessage(message, field, j),
                                       FieldPath(path, field->name(), j)));
      }
    } else if (reflection.HasField(message, field)) {
      HOOKWIRE_RETURN_IF_ERROR(
          Check(reflection.GetMessage(message, field), FieldPath(path, field->name())));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status RejectUnknownFields(const pb::Message& message) {
  return Check(message, FieldPath(""));
}

}  // namespace hookwire::server
