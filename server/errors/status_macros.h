// Early returns for absl::Status and absl::StatusOr.
#ifndef HOOKWIRE_SERVER_ERRORS_STATUS_MACROS_H_
#define HOOKWIRE_SERVER_ERRORS_STATUS_MACROS_H_

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

// Returns the status of `expression` from the enclosing function, unless it is OK.
#define HOOKWIRE_RETURN_IF_ERROR(expression)                                \
  do {                                                                      \
    if (absl::Status status_ = (expression); !status_.ok()) return status_; \
  } while (false)

#define HOOKWIRE_CONCAT_INNER(a, b) a##b
#define HOOKWIRE_CONCAT(a, b) HOOKWIRE_CONCAT_INNER(a, b)

// Declares or assigns `left` from the StatusOr that `expression` gives, or returns its status.
#define HOOKWIRE_ASSIGN_OR_RETURN(left, expression)                   \
  auto HOOKWIRE_CONCAT(status_or_, __LINE__) = (expression);          \
  if (!HOOKWIRE_CONCAT(status_or_, __LINE__).ok()) {                  \
    return std::move(HOOKWIRE_CONCAT(status_or_, __LINE__)).status(); \
  }                                                                   \
  left = *std::move(HOOKWIRE_CONCAT(status_or_, __LINE__))  // NOLINT(bugprone-macro-parentheses)

#endif  // HOOKWIRE_SERVER_ERRORS_STATUS_MACROS_H_
