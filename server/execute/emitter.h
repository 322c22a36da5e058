// Makes tensors of a pass ready to be sent: converted to the wire's dtype, on the CPU, owning
// exactly their bytes, with NaN and infinity counted.
//
// A tensor on another device is copied to this host while the layers after it are computed
// (DeviceCopy), and is given to the output once it has arrived, in the order in which tensors were
// emitted.
#ifndef HOOKWIRE_SERVER_EXECUTE_EMITTER_H_
#define HOOKWIRE_SERVER_EXECUTE_EMITTER_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "server/execute/batch.h"
#include "server/execute/device_copy.h"
#include "server/execute/non_finite.h"
#include "server/execute/run_output.h"
#include "server/plan/run_plan.h"

namespace hookwire::server {

class Emitter {
 public:
  // Of run number `run` of a batch. All must outlive the emitter. `bytes_on_the_way` counts the
  // bytes that are being copied from devices, for all emitters of a batch together, which are used
  // by one thread; null: for this one alone.
  Emitter(const RunPlan& plan, RunOutput& output, BatchContext& context, size_t run = 0,
          uint64_t* bytes_on_the_way = nullptr)
      : output_(output),
        context_(context),
        run_(run),
        emitted_(plan.n_tensors),
        bytes_on_the_way_(bytes_on_the_way == nullptr ? own_bytes_on_the_way_ : *bytes_on_the_way) {
  }
  ~Emitter() {
    for (const OnTheWay& rows : on_the_way_) bytes_on_the_way_ -= rows.bytes;
  }
  Emitter(const Emitter&) = delete;
  Emitter& operator=(const Emitter&) = delete;

  // A pass begins. Tensors that an earlier pass has given to the output are not given again: a pass
  // that failed may be repeated.
  void StartPass() { ++pass_; }

  // Gives `selected`, the slice that `tensor` plans, to the output in `dtype`. It may be a view,
  // and is copied unless it is alone in its storage; it must not be written to afterwards.
  // `n_masked`, 0-d, is the number of its elements that are −inf because attention is masked there,
  // which do not count as non-finite; undefined means none. `hook` is the name in the report.
  absl::Status Emit(const TensorPlan& tensor, at::ScalarType dtype, const std::string& hook,
                    const at::Tensor& selected, const at::Tensor& n_masked = {});

  // The same for a tensor that is computed in several steps: its rows from `first` on. The rows
  // come in order.
  absl::Status EmitRows(const TensorPlan& tensor, at::ScalarType dtype, const std::string& hook,
                        int64_t first, const at::Tensor& rows);

  // Whether `second` may be emitted together with `first`, which comes before it.
  bool MayJoin(const TensorPlan& first, const TensorPlan& second) const {
    return second.index == first.index + 1 && first.bytes % kJoinedAlignment == 0 &&
           !emitted_[first.index].whole && !emitted_[second.index].whole;
  }
  // Emits tensors each of which may be emitted together with the one before it. `all` has their
  // elements, one tensor after another, on the CPU and contiguous.
  absl::Status EmitTogether(absl::Span<const TensorPlan> tensors, at::ScalarType dtype,
                            const std::string& hook, const at::Tensor& all);

  absl::Status Progress(int layers_done);

  // An error when the client no longer waits for the run, or the run's deadline has passed.
  absl::Status CheckWanted();

  absl::StatusOr<std::vector<at::Tensor>> AwaitAnswer(const OpPlan& op);

  // Blocks until the output has everything that was emitted.
  absl::Status Flush() { return Deliver(/*in_all=*/0); }

  // The error with which the output (or the batch's context) ended the run; else OK.
  const absl::Status& output_status() const { return output_status_; }

  // After Flush. Internal error if a tensor of the plan was not emitted.
  absl::StatusOr<ExecutionReport> Finish() &&;

 private:
  // Of one tensor of the plan.
  struct Emitted {
    int64_t rows = 0;
    bool whole = false;
    // The pass in which it was emitted last.
    int pass = 0;
  };

  // Some rows of a tensor that are being copied from a device.
  struct OnTheWay {
    uint32_t tensor;  // its number
    uint32_t sequence;
    std::string hook;
    int64_t first;  // row
    uint64_t offset;
    uint64_t bytes;
    DeviceCopy rows;
    // With the first of the rows that were emitted together: the counts of all of them
    // (CountNonFiniteThere).
    std::optional<DeviceCopy> counts;
  };

  // Of `count` tensors from number `index` on.
  absl::Status GiveToOutput(uint32_t index, uint64_t offset, at::Tensor tensor, uint32_t count = 1);
  // Keeps the error of the output or of the context.
  absl::Status FromOutput(absl::Status status);
  // Emits `selected`, whose first row is row `first` of the tensor. REQUIRES: its shape was
  // checked.
  absl::Status Give(const TensorPlan& tensor, at::ScalarType dtype, const std::string& hook,
                    int64_t first, const at::Tensor& selected, const at::Tensor& n_masked);
  // The same for a tensor that is not on the CPU.
  absl::Status Send(const TensorPlan& tensor, const std::string& hook, int64_t first,
                    uint64_t offset, const at::Tensor& selected, const at::Tensor& n_masked);
  // Gives the output what has arrived from devices. Waits for further copies of this emitter while
  // more than `in_all` bytes are being copied for all emitters; with 0, until none of its own are
  // left.
  absl::Status Deliver(uint64_t in_all);
  absl::Status DeliverFirst();
  // Copies `selected`, which begins at byte `offset` of its tensor, into `buffer`, and gives the
  // copy to the output.
  absl::Status GiveIn(uint8_t* buffer, const TensorPlan& tensor, at::ScalarType dtype,
                      uint64_t offset, const at::Tensor& selected, NonFiniteElements& found);
  void Report(uint32_t sequence, const std::string& hook, int64_t first,
              const NonFiniteElements& found);

  RunOutput& output_;
  BatchContext& context_;
  const size_t run_;
  int pass_ = 0;
  std::vector<Emitted> emitted_;
  absl::Status output_status_;
  ExecutionReport report_;
  std::deque<OnTheWay> on_the_way_;
  uint64_t own_bytes_on_the_way_ = 0;
  uint64_t& bytes_on_the_way_;
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_EXECUTE_EMITTER_H_
