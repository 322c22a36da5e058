// Errors about names that a client sent, for the catalogue and the parameters.
#ifndef HOOKWIRE_MODEL_ADAPTER_NAME_ERRORS_H_
#define HOOKWIRE_MODEL_ADAPTER_NAME_ERRORS_H_

#include <cstddef>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace hookwire::model {

// The most bytes of a name in an error: clients may send names of any length.
inline constexpr size_t kShownChars = 120;

// The name, or its beginning and "…".
std::string Shown(absl::string_view name);

// NotFound with the payloads of a Catalogue error (adapter/catalogue.h), the name under
// `name_payload`. An empty cause or suggestion is left out.
absl::Status NameError(absl::string_view reason, absl::string_view name_payload,
                       absl::string_view name, absl::string_view message, absl::string_view cause,
                       absl::string_view suggestion);

// "blocks.<layer>.<rest>", where <layer> is a number.
struct BlockName {
  int layer;
  absl::string_view rest;
};
std::optional<BlockName> ParseBlockName(absl::string_view name);

}  // namespace hookwire::model

#endif  // HOOKWIRE_MODEL_ADAPTER_NAME_ERRORS_H_
