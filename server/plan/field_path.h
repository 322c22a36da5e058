// The path of a field of a request: "spec.captures[2].positions". A path is built while the request
// is traversed, and made into text only for an error.
#ifndef HOOKWIRE_SERVER_PLAN_FIELD_PATH_H_
#define HOOKWIRE_SERVER_PLAN_FIELD_PATH_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "server/errors/errors.h"

namespace hookwire::server {

// One step of a path. Refers to the step before it, which must outlive it; names must outlive both.
class FieldPath {
 public:
  explicit FieldPath(absl::string_view root) : name_(root) {}
  FieldPath(const FieldPath& parent, absl::string_view name, int index = -1)
      : parent_(&parent), name_(name), index_(index) {}

  std::string str() const {
    std::string text = parent_ == nullptr ? "" : parent_->str();
    if (!text.empty() && !name_.empty()) text += '.';
    absl::StrAppend(&text, name_);
    if (index_ >= 0) absl::StrAppend(&text, "[", index_, "]");
    return text;
  }

 private:
  const FieldPath* parent_ = nullptr;
  absl::string_view name_;
  int index_ = -1;
};

using Metadata = std::vector<std::pair<std::string, std::string>>;

// An input error: the code follows from the reason.
inline absl::Status InputError(v1::ErrorReason reason, const FieldPath& field,
                               const std::string& message, Metadata metadata = {}) {
  return MakeError(message, {reason, field.str(), std::move(metadata)});
}

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_PLAN_FIELD_PATH_H_
