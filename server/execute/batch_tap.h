// The taps of several runs that share a pass, as one.
#ifndef HOOKWIRE_SERVER_EXECUTE_BATCH_TAP_H_
#define HOOKWIRE_SERVER_EXECUTE_BATCH_TAP_H_

#include <ATen/core/Tensor.h>

#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/types/span.h"
#include "model/guard.h"
#include "model/tap/tap.h"
#include "server/execute/run_tap.h"

namespace hookwire::server {

// Whether memory has run out, and no sink says so.
bool IsWithoutMemory(const absl::Status& status);

// Does what one run of a pass does by itself. Where that fails, `own` says so; but that memory has
// run out is the failure of all, whoever came to ask for the last of it, and is returned.
template <typename F>
absl::Status DoOwn(absl::Status& own, F&& work) {
  absl::Status status = model::Guarded<absl::Status>(std::forward<F>(work));
  if (IsWithoutMemory(status)) return status;
  own = std::move(status);
  return absl::OkStatus();
}

// Sequences of the pass are those of the first run, then those of the second, and so on. A run that
// fails at a hook point takes no further part, and the others go on: the pass ends early only where
// all have failed, or memory has run out.
class BatchTap final : public model::Tap {
 public:
  // One run: its tap, and what became of it.
  struct Member {
    RunTap* tap;
    int n_sequences;
    absl::Status* status;
  };

  // What the members point at, and what `between_steps` refers to, must outlive the tap.
  BatchTap(std::vector<Member> members, absl::FunctionRef<void()> between_steps);

  bool Wants(model::HookId hook) const override;
  bool Wants(model::HookId hook, int sequence) const override;
  absl::Status Visit(model::HookId hook, absl::Span<at::Tensor> values) override;
  void BetweenSteps() override { between_steps_(); }
  absl::Status LayerDone(int layer) override;

  // Whether any run has not failed.
  bool any_left() const;

 private:
  // A sequence's run, and its number there.
  struct Place {
    const RunTap* tap;
    int sequence;
  };

  // What the pass is told.
  absl::Status GoOn() const;

  const std::vector<Member> members_;
  const absl::FunctionRef<void()> between_steps_;
  std::vector<Place> places_;
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_EXECUTE_BATCH_TAP_H_
