// How code outside the forward pass reads and writes tensors at its hook points.
//
// The pass asks Wants before it computes a tensor that only a hook needs (the attention scores, for
// example, which the fused kernel never makes), and skips what no sequence wants. All calls come
// from the thread that runs the pass.
#ifndef HOOKWIRE_MODEL_TAP_TAP_H_
#define HOOKWIRE_MODEL_TAP_TAP_H_

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/types/span.h"
#include "model/adapter/catalogue.h"

namespace hookwire::model {

// Rows of a sequence by position: begin … end - 1; none where end <= begin.
struct RowRange {
  int64_t begin = 0;
  int64_t end = 0;

  bool empty() const { return end <= begin; }
  bool operator==(const RowRange&) const = default;
};

class Tap {
 public:
  virtual ~Tap() = default;

  // Whether any sequence is read or written at this hook point.
  virtual bool Wants(HookId hook) const = 0;
  // Whether this sequence is. True only if Wants(hook).
  virtual bool Wants(HookId hook, int sequence) const = 0;

  // Is given rows that are read or changed at a hook point. More than one range may be given for a
  // hook point of a sequence; rows between those that are read count as read.
  using RowRead = absl::FunctionRef<void(int sequence, HookId hook, RowRange rows)>;
  // Calls `read` with all rows that are read or changed at hook points, and with the rows whose
  // logits are wanted, as read at ln_final.hook_in. The pass asks once, at its begin, and may then
  // leave out rows that nothing reads any more. False, without a call: all rows are read.
  virtual bool ForEachRead(RowRead /*read*/) const { return false; }

  // The pass has reached `hook`, which Wants says is wanted. values[s] is the tensor of sequence s,
  // with the axes that the catalogue gives, where Wants(hook, s); undefined for other sequences.
  // Its axis of positions has those of rows[s]: all of the sequence, or, after ForEachRead, those
  // that are left, among them all that are read here.
  //
  // Visit may put another tensor of the same shape and dtype into values[s]: the rest of the pass
  // computes with that one. It must not write into the tensor that it was given, and the pass does
  // not write into it after Visit. The tensor may be a view into the storage of a whole batch: copy
  // it to keep it, unless it is contiguous and its storage holds nothing else. An error ends the
  // pass, which returns it.
  virtual absl::Status Visit(HookId hook, absl::Span<const RowRange> rows,
                             absl::Span<at::Tensor> values) = 0;

  // A step of the pass is about to run: an operator or a few of them, such as one product or one
  // block of logits. There are many in a layer, and some before the first and behind the last. The
  // place to let others have the device. An error (nobody waits for the pass any more) ends the
  // pass, which returns it, before the step.
  virtual absl::Status BetweenSteps() { return absl::OkStatus(); }

  // Layer number `layer` has run. An error (the run was cancelled, its deadline has passed) ends
  // the pass, which returns it.
  virtual absl::Status LayerDone(int layer) = 0;
};

}  // namespace hookwire::model

#endif  // HOOKWIRE_MODEL_TAP_TAP_H_
