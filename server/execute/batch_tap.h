// Combines the taps of several runs that share a pass into one.
#ifndef HOOKWIRE_SERVER_EXECUTE_BATCH_TAP_H_
#define HOOKWIRE_SERVER_EXECUTE_BATCH_TAP_H_

#include <ATen/core/Tensor.h>

#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "model/guard.h"
#include "model/tap/tap.h"
#include "server/execute/batch.h"
#include "server/execute/run_tap.h"

namespace hookwire::server {

// Whether the status says that memory has run out, and does not come from a run's output.
bool IsWithoutMemory(const absl::Status& status);

// Does a part of a pass that concerns one run alone, such as its captures at a hook point. An error
// goes into `own`, the run's status, and the others go on. But where memory has run out, any run of
// the pass may be the cause: that error is returned, and ends the pass.
template <typename F>
absl::Status DoOwn(absl::Status& own, F&& work) {
  absl::Status status = model::Guarded<absl::Status>(std::forward<F>(work));
  if (IsWithoutMemory(status)) return status;
  own = std::move(status);
  return absl::OkStatus();
}

// The sequences of the pass are those of the first run, then those of the second, and so on. A run
// that fails at a hook point, or whose client no longer waits for it, is skipped from then on, and
// the others continue. The pass ends early only if all runs have failed, or memory has run out.
class BatchTap final : public model::Tap {
 public:
  // One run: its tap, its number of sequences, and its status.
  struct Member {
    RunTap* tap;
    int n_sequences;
    absl::Status* status;
  };

  // The members' taps and statuses, and `context`, must outlive the tap.
  BatchTap(std::vector<Member> members, BatchContext& context);

  bool Wants(model::HookId hook) const override;
  bool Wants(model::HookId hook, int sequence) const override;
  bool ForEachRead(RowRead read) const override;
  absl::Status Visit(model::HookId hook, absl::Span<const model::RowRange> rows,
                     absl::Span<at::Tensor> values) override;
  absl::Status BetweenSteps() override;
  absl::Status LayerDone(int layer) override;

  // Whether any run has not failed.
  bool any_left() const;

 private:
  // The run of a sequence, and the sequence's number in it.
  struct Source {
    const RunTap* tap;
    int sequence;
  };

  // CANCELLED if no run is left.
  absl::Status EndIfEmpty() const;

  const std::vector<Member> members_;
  BatchContext& context_;
  std::vector<Source> sources_;
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_EXECUTE_BATCH_TAP_H_
