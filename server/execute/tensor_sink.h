// Where execute/ puts what a run produces. Implemented by stream/.
#ifndef HOOKWIRE_SERVER_EXECUTE_TENSOR_SINK_H_
#define HOOKWIRE_SERVER_EXECUTE_TENSOR_SINK_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "server/plan/run_plan.h"

namespace hookwire::server {

class TensorSink {
 public:
  virtual ~TensorSink() = default;

  // Tensor number `index` of the plan from its byte `offset` on: all of it, or some rows (along the
  // first axis) of a tensor that is made piece by piece, in order. On the CPU, contiguous, in its
  // wire dtype, and the only user of its storage. Called on the thread that runs the pass; may
  // block while the reader is behind (back-pressure). An error (the client is gone, the run was
  // cancelled) ends the run.
  virtual absl::Status Emit(uint32_t index, uint64_t offset, at::Tensor tensor) = 0;

  // Where the sink wants `bytes` of tensor number `index` from its byte `offset` on: what is made
  // there, all of it or some rows, can be given to Emit as it is, and is not looked at there again.
  // Null: anywhere.
  virtual uint8_t* Place(uint32_t /*index*/, uint64_t /*offset*/, uint64_t /*bytes*/) {
    return nullptr;
  }

  // `layers_done` layers have run. An error ends the run.
  virtual absl::Status Progress(int layers_done) = 0;

  // What the client makes of the tensors of callback `op`, which have been emitted: one for each,
  // in the dtype and shape of the plan, on the CPU, contiguous; undefined where it leaves one as it
  // is. Blocks until the client has answered them all. An error ends the run.
  virtual absl::StatusOr<std::vector<at::Tensor>> Await(const OpPlan& op) {
    return absl::InternalError(
        absl::StrCat("intervention ", op.intervention, " asks a client that cannot answer"));
  }
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_EXECUTE_TENSOR_SINK_H_
