// The boundary of model/: inside it libtorch and we throw exceptions; what its callers get is an
// absl::Status.
#ifndef HOOKWIRE_MODEL_GUARD_H_
#define HOOKWIRE_MODEL_GUARD_H_

#include <c10/util/Exception.h>

#include <exception>
#include <new>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace hookwire::model {

// Whether the message of a libtorch error says that memory ran out: on the CPU, in pinned host
// memory, or in a device's library (cuBLAS, for example). libtorch has an exception type for device
// memory alone (c10::OutOfMemoryError).
inline bool SaysOutOfMemory(absl::string_view what) {
  return absl::StrContains(what, "DefaultCPUAllocator") ||
         absl::StrContains(what, "out of memory") || absl::StrContains(what, "ALLOC_FAILED");
}

// Thrown inside a pass to end it with `status`; Guarded catches it. Never leaves model/.
class PassEnded : public std::exception {
 public:
  explicit PassEnded(absl::Status status) : status_(std::move(status)) {}
  const absl::Status& status() const { return status_; }
  const char* what() const noexcept override { return "pass ended"; }

 private:
  absl::Status status_;
};

// Ends the pass if `status` is an error.
inline void ThrowIfError(absl::Status status) {
  if (!status.ok()) throw PassEnded(std::move(status));
}

// Returns what `body` returns, a T (an absl::Status or StatusOr), or a status made of what it
// throws: RESOURCE_EXHAUSTED where memory ran out, else INTERNAL.
template <typename T, typename F>
T Guarded(F&& body) {
  try {
    return std::forward<F>(body)();
  } catch (const PassEnded& ended) {
    return ended.status();
  } catch (const c10::OutOfMemoryError& error) {
    return absl::ResourceExhaustedError(
        absl::StrCat("out of device memory: ", error.what_without_backtrace()));
  } catch (const c10::Error& error) {
    if (SaysOutOfMemory(error.what_without_backtrace())) {
      return absl::ResourceExhaustedError(error.what_without_backtrace());
    }
    return absl::InternalError(absl::StrCat("libtorch: ", error.what_without_backtrace()));
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError("out of memory");
  } catch (const std::exception& error) {
    return absl::InternalError(error.what());
  }
}

}  // namespace hookwire::model

#endif  // HOOKWIRE_MODEL_GUARD_H_
