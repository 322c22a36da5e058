// A client's answers to the callbacks of its run: pieces of tensors come in, whole tensors go out.
#ifndef HOOKWIRE_SERVER_RPC_ANSWERS_H_
#define HOOKWIRE_SERVER_RPC_ANSWERS_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "hookwire/v1/service.pb.h"
#include "server/plan/run_plan.h"

namespace hookwire::server {

// Thread-safe: gRPC's threads add the pieces that arrive, and the thread of the pass waits for
// whole tensors. Holds at most the tensors of the callbacks that have been sent and not yet
// answered.
class Answers {
 public:
  explicit Answers(std::shared_ptr<const RunPlan> plan);

  // Tensor `index` of the plan is being sent to the client, which may answer it from now on.
  void Show(uint32_t index);

  // Take pieces of answers, and the numbers of tensors that the client leaves unchanged.
  // InvalidArgument (UNEXPECTED_MESSAGE) for tensors that no callback waits for, pieces out of
  // order or past the end, and second answers.
  absl::Status Take(const v1::TensorChunks& pieces);
  absl::Status Take(const v1::Keep& keep);

  // No more answers will come: Await, now or later, returns `status`, unless it already has all
  // that it waits for. Only the first call has an effect.
  void Close(const absl::Status& status);

  // As RunOutput::AwaitAnswer.
  absl::StatusOr<std::vector<at::Tensor>> Await(const OpPlan& op,
                                                absl::FunctionRef<absl::Status()> keep_waiting);

 private:
  enum class State { kHidden, kShown, kAnswered };
  struct Answer {
    const OpPlan* op = nullptr;
    const TensorPlan* tensor = nullptr;
    State state = State::kHidden;
    at::Tensor value;
    uint64_t received = 0;
  };

  // The answer to tensor `index`, which must be expected.
  absl::StatusOr<Answer*> Expected(uint32_t index) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool IsWhole(const OpPlan& op) const ABSL_SHARED_LOCKS_REQUIRED(mutex_);

  const std::shared_ptr<const RunPlan> plan_;
  mutable absl::Mutex mutex_;
  // By the tensor's number in the plan.
  absl::flat_hash_map<uint32_t, Answer> answers_ ABSL_GUARDED_BY(mutex_);
  absl::Status closed_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_RPC_ANSWERS_H_
