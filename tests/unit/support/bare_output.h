// A run's output that takes everything, for tests that look at a part of it.
#ifndef HOOKWIRE_TESTS_UNIT_SUPPORT_BARE_OUTPUT_H_
#define HOOKWIRE_TESTS_UNIT_SUPPORT_BARE_OUTPUT_H_

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "server/execute/batch.h"
#include "server/execute/run_output.h"

namespace hookwire::testing {

class BareOutput : public server::RunOutput {
 public:
  bool FitsBuffer() const override { return true; }
  bool Reserve(bool /*claim*/) override { return true; }
  absl::Status Emit(uint32_t /*index*/, uint64_t /*offset*/, at::Tensor /*tensor*/,
                    absl::FunctionRef<void(bool)> /*waits*/) override {
    return absl::OkStatus();
  }
  absl::Status Progress(int /*layers_done*/) override { return absl::OkStatus(); }
  absl::Status status() const override { return absl::OkStatus(); }
  void Complete(server::RunOutcome /*outcome*/) override {}
};

// The same for a batch that nobody else shares the device with.
class BareContext : public server::BatchContext {
 public:
  void Done(size_t /*run*/, absl::StatusOr<server::ExecutionReport> /*report*/) override {}
};

}  // namespace hookwire::testing

#endif  // HOOKWIRE_TESTS_UNIT_SUPPORT_BARE_OUTPUT_H_
