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

  // A pass begins. What an earlier one has given to the output is not given again: a pass that
  // failed may be run once more.
  void StartPass() { ++pass_; }

  // Gives `selected`, the slice that `tensor` plans, to the output in `dtype`. It may be a view
  // into anything, and is copied unless it is alone in its storage; nobody may write to it any
  // more. `n_masked`, 0-d, is the number of its elements that are −inf because attention is masked
  // there: they do not count as non-finite; undefined: none. `hook` is the name in the report.
  absl::Status Emit(const TensorPlan& tensor, at::ScalarType dtype, const std::string& hook,
                    const at::Tensor& selected, const at::Tensor& n_masked = {});

  // The same for a tensor that is computed in several steps: its rows from `first` on. The rows
  // come in order.
  absl::Status EmitRows(const TensorPlan& tensor, at::ScalarType dtype, const std::string& hook,
                        int64_t first, const at::Tensor& rows);

  absl::Status Progress(int layers_done);

  // An error once nobody waits for the run, or it has no time left.
  absl::Status CheckWanted();

  absl::StatusOr<std::vector<at::Tensor>> AwaitAnswer(const OpPlan& op);

  // Blocks until the output has everything that was emitted.
  absl::Status Flush() { return Deliver(/*in_all=*/0); }

  // The error with which the output (or the batch's context) ended the run; OK where none did.
  const absl::Status& output_status() const { return output_status_; }

  // After Flush. Internal error where a tensor of the plan was not emitted.
  absl::StatusOr<ExecutionReport> Finish() &&;

 private:
  // Of one tensor of the plan.
  struct Emitted {
    int64_t rows = 0;
    bool whole = false;
    // In which it was given last.
    int pass = 0;
  };

  // Some rows of a tensor on their way from a device.
  struct OnTheWay {
    uint32_t tensor;  // its number
    uint32_t sequence;
    std::string hook;
    int64_t first;  // row
    uint64_t offset;
    uint64_t bytes;
    DeviceCopy rows;
    // With the first rows that were emitted together: of them all (CountNonFiniteThere).
    std::optional<DeviceCopy> counts;
  };

  absl::Status GiveToOutput(uint32_t index, uint64_t offset, at::Tensor tensor);
  // Keeps an error that is not the pass's.
  absl::Status FromOutput(absl::Status status);
  // `selected`, which fits, begins at row `first`.
  absl::Status Give(const TensorPlan& tensor, at::ScalarType dtype, const std::string& hook,
                    int64_t first, const at::Tensor& selected, const at::Tensor& n_masked);
  // The same for a tensor that is not on the CPU.
  absl::Status Send(const TensorPlan& tensor, const std::string& hook, int64_t first,
                    uint64_t offset, const at::Tensor& selected, const at::Tensor& n_masked);
  // Gives the output what has arrived from devices, and waits for more while more than `in_all`
  // bytes are on their way, its own and others'; nothing of its own remains where that is 0.
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
