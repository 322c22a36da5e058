// An output that keeps what a run emits, and can refuse.
#ifndef HOOKWIRE_TESTS_UNIT_EXECUTE_RECORDING_OUTPUT_H_
#define HOOKWIRE_TESTS_UNIT_EXECUTE_RECORDING_OUTPUT_H_

#include <ATen/core/Tensor.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/clone.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "server/execute/executor.h"
#include "server/plan/run_plan.h"
#include "tests/unit/support/bare_output.h"
#include "tests/unit/support/run_specs.h"

namespace hookwire::testing {

class RecordingOutput final : public BareOutput {
 public:
  absl::Status Emit(uint32_t index, uint64_t offset, at::Tensor tensor,
                    absl::FunctionRef<void(bool)> /*waits*/) override {
    order.push_back(index);
    if (on_emit) {
      if (absl::Status status = on_emit(index); !status.ok()) return status;
    }
    if (offset != 0) {
      if (offset != tensors.at(index).nbytes()) return absl::InternalError("a gap");
      tensor = at::cat({tensors.at(index), tensor});
    }
    copies[index] = tensor.clone();
    tensors[index] = std::move(tensor);
    return absl::OkStatus();
  }
  absl::Status Progress(int layers_done) override {
    progress.push_back(layers_done);
    return on_progress ? on_progress(layers_done) : absl::OkStatus();
  }

  absl::Status status() const override { return on_status ? on_status() : absl::OkStatus(); }

  std::map<uint32_t, at::Tensor> tensors;
  // As they were when they came.
  std::map<uint32_t, at::Tensor> copies;
  std::vector<uint32_t> order;
  std::vector<int> progress;
  std::function<absl::Status(uint32_t)> on_emit;
  std::function<absl::Status(int)> on_progress;
  std::function<absl::Status()> on_status;
};

// A run that has ended well.
struct Finished {
  std::shared_ptr<const server::RunPlan> plan;
  RecordingOutput output;
  server::ExecutionReport report;

  const at::Tensor& operator[](uint32_t index) const { return output.tensors.at(index); }
  // The tensor of capture `capture` of the request for sequence `sequence`.
  const at::Tensor& Captured(uint32_t capture, int sequence) const {
    for (const server::CapturePlan& group : plan->captures) {
      for (const uint32_t asked : group.captures) {
        if (asked != capture) continue;
        for (const server::TensorPlan& tensor : group.tensors) {
          if (tensor.slice.sequence == sequence) return (*this)[tensor.index];
        }
      }
    }
    throw std::runtime_error("no such capture");
  }
};

inline Finished RunToEnd(const v1::RunSpec& spec, const model::TextModel& model = TinyModel(),
                         const server::Executor::Options& options = {}) {
  Finished run;
  run.plan = MustPlan(spec, model);
  auto report = server::Executor(model, options).Execute(*run.plan, run.output);
  if (!report.ok()) throw std::runtime_error(report.status().ToString());
  run.report = *std::move(report);
  return run;
}

}  // namespace hookwire::testing

#endif  // HOOKWIRE_TESTS_UNIT_EXECUTE_RECORDING_OUTPUT_H_
