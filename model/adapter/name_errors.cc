#include "model/adapter/name_errors.h"

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "model/adapter/catalogue.h"

namespace hookwire::model {

std::string Shown(absl::string_view name) {
  return name.size() <= kShownChars ? std::string(name)
                                    : absl::StrCat(name.substr(0, kShownChars), "…");
}

absl::Status NameError(absl::string_view reason, absl::string_view name_payload,
                       absl::string_view name, absl::string_view message, absl::string_view cause,
                       absl::string_view suggestion) {
  absl::Status status = absl::NotFoundError(message);
  status.SetPayload(kErrorReasonPayload, absl::Cord(reason));
  status.SetPayload(name_payload, absl::Cord(Shown(name)));
  if (!cause.empty()) status.SetPayload(kErrorCausePayload, absl::Cord(cause));
  if (!suggestion.empty()) status.SetPayload(kErrorSuggestionPayload, absl::Cord(suggestion));
  return status;
}

std::optional<BlockName> ParseBlockName(absl::string_view name) {
  if (!absl::ConsumePrefix(&name, "blocks.")) return std::nullopt;
  const size_t dot = name.find('.');
  int layer = 0;
  if (dot == absl::string_view::npos || !absl::SimpleAtoi(name.substr(0, dot), &layer))
    return std::nullopt;
  return BlockName{layer, name.substr(dot + 1)};
}

}  // namespace hookwire::model
