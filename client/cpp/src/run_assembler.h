// Assembles the events of a run, in the order of their arrival, into complete tensors.
//
// In: events from run_decoder.h. Out: calls of the user's functions, and the receipt. A partial
// result is always an error: any gap, overlap, surplus or early end is DATA_LOSS. Does not depend
// on gRPC. Thread-compatible.
#ifndef HOOKWIRE_CLIENT_CPP_SRC_RUN_ASSEMBLER_H_
#define HOOKWIRE_CLIENT_CPP_SRC_RUN_ASSEMBLER_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "hookwire/client.h"
#include "hookwire/v1/service.pb.h"

namespace hookwire::client {

class RunAssembler {
 public:
  // Both must outlive the assembler.
  RunAssembler(const TensorCallback& on_tensor, const RunOptions& options)
      : on_tensor_(on_tensor), options_(options) {}

  absl::Status Accept(const v1::Accepted& accepted);

  // The memory for bytes [offset, offset + size) of a tensor. Call Filled after writing them.
  absl::StatusOr<absl::Span<std::byte>> Place(uint32_t tensor, uint64_t offset, uint64_t size);
  // Call this when the memory of the last Place has been written. Calls the user's function if the
  // tensor is complete.
  absl::Status Filled(uint32_t tensor);

  absl::Status Progress(const v1::Progress& progress);
  absl::Status Finish(v1::Receipt receipt);

  // Call this after the stream has ended with OK. The receipt, or DATA_LOSS if something is
  // missing.
  absl::StatusOr<v1::Receipt> Result() &&;

 private:
  struct Slot {
    int group;
    int entry;
    uint64_t bytes;
    uint64_t received = 0;
    bool delivered = false;
    std::unique_ptr<std::byte[]> data = nullptr;
  };

  absl::Status MakeSlots();
  absl::Status Deliver(uint32_t tensor);

  const TensorCallback& on_tensor_;
  const RunOptions& options_;
  std::shared_ptr<const v1::Plan> plan_;
  // One for each tensor of the plan.
  std::vector<Slot> slots_;
  uint64_t delivered_ = 0;
  std::optional<v1::Receipt> receipt_;
};

}  // namespace hookwire::client

#endif  // HOOKWIRE_CLIENT_CPP_SRC_RUN_ASSEMBLER_H_
