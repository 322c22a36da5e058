// Turns a request into a plan. Every error of the input is found here, before anything is computed.
//
// In: a RunSpec as it came from the wire. Out: a RunPlan, or an error with the cause, the nearest
// right value and the field. Immutable; any thread. Depends on model/ (the catalogue) and errors/.
#ifndef HOOKWIRE_SERVER_PLAN_PLANNER_H_
#define HOOKWIRE_SERVER_PLAN_PLANNER_H_

#include <cstdint>
#include <memory>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "hookwire/v1/run.pb.h"
#include "model/numerics.h"
#include "model/text/text_model.h"
#include "server/plan/pass_tokens.h"
#include "server/plan/run_plan.h"

namespace hookwire::server {

struct Limits {
  // The largest result of one run, in bytes; 0 means no limit.
  uint64_t max_result_bytes = uint64_t{8} << 30;
  uint64_t max_tokens = 65'536;
  uint64_t max_tensors = 65'536;
  // The most captures of one run, and the most interventions. Real requests have far fewer: one
  // capture for each name and selection, and one intervention for each row of a sweep.
  int max_entries = 16'384;
  // The most memory that one pass may need (activation_memory.h), in bytes; 0 means no limit.
  uint64_t max_activation_bytes = 0;
  // How runs are executed: in passes of at most so many tokens, in these numerics.
  int64_t max_batch_tokens = kDefaultPassTokens;
  model::Numerics numerics = model::Numerics::kFast;
};

class Planner {
 public:
  // `model` must outlive the planner.
  Planner(const model::TextModel& model, const Limits& limits) : model_(model), limits_(limits) {}
  virtual ~Planner() = default;

  // Whether the client can answer while the pass runs (Interact). If not, callbacks are errors.
  enum class Client { kListens, kAnswers };

  // Called between the steps of planning, each of which takes a few milliseconds at most: an error
  // ends planning, which returns it.
  using KeepGoing = absl::FunctionRef<absl::Status()>;

  absl::StatusOr<std::shared_ptr<const RunPlan>> Plan(const v1::RunSpec& spec,
                                                      Client client = Client::kListens) const {
    return Plan(spec, client, [] { return absl::OkStatus(); });
  }
  // Virtual, so that a test can replace it.
  virtual absl::StatusOr<std::shared_ptr<const RunPlan>> Plan(const v1::RunSpec& spec,
                                                              Client client,
                                                              KeepGoing keep_going) const;

  // The plan as the client is told it, into an empty message: one on an arena, as a plan may have a
  // hundred thousand parts.
  void Describe(const RunPlan& plan, v1::Plan& description) const;

 private:
  // ResourceExhausted (TOO_MANY_TENSORS) if the description is larger than the client's largest
  // message.
  absl::Status CheckDescription(const RunPlan& plan, const v1::RunSpec& spec) const;

  const model::TextModel& model_;
  const Limits limits_;
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_PLAN_PLANNER_H_
