#include "server/execute/executor.h"

#include <c10/core/InferenceMode.h>

#include <cstddef>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "model/guard.h"
#include "server/errors/errors.h"
#include "server/errors/status_macros.h"
#include "server/execute/emitter.h"
#include "server/execute/outputs.h"
#include "server/execute/pass.h"
#include "server/execute/run_tap.h"
#include "server/plan/describe.h"

namespace hookwire::server {
namespace {

absl::Status EmitResidual(const OutputPlan& plan, const Pass& pass, const model::PassState& state,
                          Emitter& emitter) {
  const std::vector<at::Tensor> residual = model::TextModel::Residual(state);
  for (size_t s = 0; s < residual.size(); ++s) {
    const TensorPlan& tensor = plan.tensors[static_cast<size_t>(pass.sequences[s])];
    HOOKWIRE_RETURN_IF_ERROR(
        emitter.Emit(tensor, plan.dtype, OutputName(plan.source), residual[s]));
  }
  return absl::OkStatus();
}

absl::Status RunPass(const model::TextModel& model, model::Numerics numerics, const RunPlan& plan,
                     const Pass& pass, Emitter& emitter) {
  RunTap tap(plan, pass, model.catalogue(), emitter);
  std::vector<std::vector<int64_t>> sequences;
  sequences.reserve(pass.sequences.size());
  for (const int s : pass.sequences) sequences.push_back(plan.sequences[static_cast<size_t>(s)]);
  HOOKWIRE_ASSIGN_OR_RETURN(model::PassState state,
                            model.Begin(std::move(sequences), numerics, tap));
  HOOKWIRE_RETURN_IF_ERROR(model.RunLayers(state, plan.n_layers_run, tap));
  if (plan.finish) {
    LogitsOutputs outputs(plan, pass, emitter);
    HOOKWIRE_RETURN_IF_ERROR(model.Finish(
        state, outputs.rows(), tap, [&](int sequence, int64_t first, const at::Tensor& logits) {
          return outputs.Take(sequence, first, logits);
        }));
    HOOKWIRE_RETURN_IF_ERROR(outputs.Finish());
  }
  if (const OutputPlan* residual = FindOutput(plan, v1::TensorGroup::SOURCE_RESIDUAL)) {
    HOOKWIRE_RETURN_IF_ERROR(EmitResidual(*residual, pass, state, emitter));
  }
  return tap.CheckComplete();
}

absl::Status OutOfMemory(const std::string& what) {
  return MakeError(absl::StrCat("the run ran out of memory: ask for fewer sequences, positions or "
                                "hook points (",
                                Shorten(what, 300), ")"),
                   {v1::ERROR_REASON_OUT_OF_MEMORY, "", {}});
}

// libtorch's CPU allocator says so in words alone.
bool IsAllocationFailure(const std::string& what) {
  return absl::StrContains(what, "DefaultCPUAllocator");
}

absl::Status FromException(const std::string& what) {
  if (IsAllocationFailure(what)) return OutOfMemory(what);
  return MakeError(absl::StrCat("the forward pass failed: ", Shorten(what, 300)),
                   {v1::ERROR_REASON_INTERNAL, "", {}});
}

// Errors of the pass with a reason of ours; statuses of the sink as they are.
absl::Status Explain(const absl::Status& status, const absl::Status& sink_status) {
  if (!sink_status.ok()) return sink_status;
  if (HasReason(status)) return status;
  const std::string what(status.message());
  return status.code() == absl::StatusCode::kResourceExhausted ? OutOfMemory(what)
                                                               : FromException(what);
}

}  // namespace

absl::StatusOr<ExecutionReport> Executor::Execute(const RunPlan& plan, TensorSink& sink) const {
  Emitter emitter(plan, sink);
  const absl::Status status = model::Guarded<absl::Status>([&] {
    const c10::InferenceMode inference;
    for (const Pass& pass : SplitIntoPasses(plan, options_.max_batch_tokens)) {
      HOOKWIRE_RETURN_IF_ERROR(RunPass(model_, options_.numerics, plan, pass, emitter));
    }
    return absl::OkStatus();
  });
  if (!status.ok()) return Explain(status, emitter.sink_status());
  return std::move(emitter).Finish();
}

}  // namespace hookwire::server
