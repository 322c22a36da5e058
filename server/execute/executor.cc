#include "server/execute/executor.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/tensor.h>
#include <c10/core/InferenceMode.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <exception>
#include <new>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "server/errors/errors.h"
#include "server/errors/status_macros.h"
#include "server/execute/emitter.h"
#include "server/execute/log_probs.h"
#include "server/execute/run_tap.h"
#include "server/plan/describe.h"

namespace hookwire::server {
namespace {

using Rows = std::vector<std::vector<int64_t>>;

const OutputPlan* Find(const RunPlan& plan, v1::TensorGroup::Source source) {
  for (const OutputPlan& output : plan.outputs) {
    if (output.source == source) return &output;
  }
  return nullptr;
}

// The positions that a pick names, in its order.
std::vector<int64_t> Indices(const AxisPick& pick) {
  std::vector<int64_t> indices(static_cast<size_t>(pick.count));
  for (int64_t i = 0; i < pick.count; ++i) {
    indices[static_cast<size_t>(i)] =
        pick.IsRange() ? pick.start + i * pick.step : pick.indices.const_data_ptr<int64_t>()[i];
  }
  return indices;
}

// By sequence: the positions whose logits anyone wants, ascending.
Rows WantedRows(const RunPlan& plan, const OutputPlan* logits, const OutputPlan* log_probs) {
  Rows rows(plan.sequences.size());
  for (size_t s = 0; s < rows.size(); ++s) {
    if (logits != nullptr) rows[s] = Indices(logits->tensors[s].slice.picks[0]);
    if (log_probs != nullptr) {
      rows[s].insert(rows[s].end(), log_probs->positions[s].begin(), log_probs->positions[s].end());
    }
    std::sort(rows[s].begin(), rows[s].end());
    rows[s].erase(std::unique(rows[s].begin(), rows[s].end()), rows[s].end());
  }
  return rows;
}

// Where each position lies among `rows`, which are ascending and hold them all.
std::vector<int64_t> PlacesIn(const std::vector<int64_t>& rows,
                              const std::vector<int64_t>& positions) {
  std::vector<int64_t> places;
  places.reserve(positions.size());
  for (const int64_t position : positions) {
    places.push_back(std::lower_bound(rows.begin(), rows.end(), position) - rows.begin());
  }
  return places;
}

// Rows `positions` of logits whose rows are `rows`: the tensor itself where these are the same.
at::Tensor PickRows(const at::Tensor& logits, const std::vector<int64_t>& rows,
                    const std::vector<int64_t>& positions) {
  if (rows == positions) return logits;
  return logits.index_select(0,
                             at::tensor(PlacesIn(rows, positions), at::kLong).to(logits.device()));
}

absl::Status EmitLogits(const OutputPlan* logits_plan, const OutputPlan* log_probs_plan,
                        const Rows& rows, std::vector<at::Tensor> logits, Emitter& emitter) {
  std::vector<at::Tensor> log_probs(rows.size());  // [targets] a sequence
  for (size_t s = 0; log_probs_plan != nullptr && s < rows.size(); ++s) {
    const std::vector<int64_t>& positions = log_probs_plan->positions[s];
    log_probs[s] = positions.empty() ? at::empty({0}, at::kFloat)
                                     : TargetLogProbs(logits[s], PlacesIn(rows[s], positions),
                                                      log_probs_plan->targets[s]);
  }
  for (size_t s = 0; logits_plan != nullptr && s < rows.size(); ++s) {
    const TensorPlan& tensor = logits_plan->tensors[s];
    // Let go of before the sink may wait: logits are the largest tensors of all.
    const at::Tensor picked =
        PickRows(std::exchange(logits[s], {}), rows[s], Indices(tensor.slice.picks[0]));
    HOOKWIRE_RETURN_IF_ERROR(
        emitter.Emit(tensor, logits_plan->dtype, OutputName(logits_plan->source), picked));
  }
  for (size_t s = 0; log_probs_plan != nullptr && s < rows.size(); ++s) {
    HOOKWIRE_RETURN_IF_ERROR(emitter.Emit(log_probs_plan->tensors[s], log_probs_plan->dtype,
                                          OutputName(log_probs_plan->source), log_probs[s]));
  }
  return absl::OkStatus();
}

absl::Status EmitResidual(const OutputPlan& plan, const model::PassState& state, Emitter& emitter) {
  const std::vector<at::Tensor> residual = model::TextModel::Residual(state);
  for (const TensorPlan& tensor : plan.tensors) {
    HOOKWIRE_RETURN_IF_ERROR(emitter.Emit(tensor, plan.dtype, OutputName(plan.source),
                                          residual[static_cast<size_t>(tensor.slice.sequence)]));
  }
  return absl::OkStatus();
}

absl::StatusOr<ExecutionReport> RunPass(const model::TextModel& model, model::Numerics numerics,
                                        const RunPlan& plan, Emitter& emitter) {
  const c10::InferenceMode inference;
  RunTap tap(plan, model.catalogue(), emitter);
  HOOKWIRE_ASSIGN_OR_RETURN(model::PassState state, model.Begin(plan.sequences, numerics, tap));
  HOOKWIRE_RETURN_IF_ERROR(model.RunLayers(state, plan.n_layers_run, tap));
  if (plan.finish) {
    const OutputPlan* logits = Find(plan, v1::TensorGroup::SOURCE_LOGITS);
    const OutputPlan* log_probs = Find(plan, v1::TensorGroup::SOURCE_LOG_PROBS);
    const Rows rows = WantedRows(plan, logits, log_probs);
    HOOKWIRE_ASSIGN_OR_RETURN(std::vector<at::Tensor> made, model.Finish(state, rows, tap));
    HOOKWIRE_RETURN_IF_ERROR(EmitLogits(logits, log_probs, rows, std::move(made), emitter));
  }
  if (const OutputPlan* residual = Find(plan, v1::TensorGroup::SOURCE_RESIDUAL)) {
    HOOKWIRE_RETURN_IF_ERROR(EmitResidual(*residual, state, emitter));
  }
  HOOKWIRE_RETURN_IF_ERROR(tap.CheckComplete());
  return std::move(emitter).Finish();
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
  try {
    absl::StatusOr<ExecutionReport> report = RunPass(model_, numerics_, plan, emitter);
    if (report.ok()) return report;
    return Explain(report.status(), emitter.sink_status());
  } catch (const c10::OutOfMemoryError& error) {
    return OutOfMemory(error.what_without_backtrace());
  } catch (const c10::Error& error) {
    return FromException(error.what_without_backtrace());
  } catch (const std::bad_alloc&) {
    return OutOfMemory("std::bad_alloc");
  } catch (const std::exception& error) {
    return FromException(error.what());
  } catch (...) {
    return FromException("an exception of an unknown type");
  }
}

}  // namespace hookwire::server
