// How code outside the forward pass reads and writes tensors at its hook points.
//
// The pass asks Wants before it computes a tensor that only a hook needs (the attention scores, for
// example, which the fused kernel never makes), and skips what no sequence wants. All calls come
// from the thread that runs the pass.
#ifndef HOOKWIRE_MODEL_TAP_TAP_H_
#define HOOKWIRE_MODEL_TAP_TAP_H_

#include <ATen/core/Tensor.h>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "model/adapter/catalogue.h"

namespace hookwire::model {

class Tap {
 public:
  virtual ~Tap() = default;

  // Whether any sequence is read or written at this hook point.
  virtual bool Wants(HookId hook) const = 0;
  // Whether this sequence is. True only if Wants(hook).
  virtual bool Wants(HookId hook, int sequence) const = 0;

  // The pass has reached `hook`, which Wants says is wanted. values[s] is the tensor of sequence s,
  // with the axes that the catalogue gives, where Wants(hook, s); undefined for other sequences.
  //
  // Visit may put another tensor of the same shape and dtype into values[s]: the rest of the pass
  // computes with that one. It must not write into the tensor that it was given, and the pass does
  // not write into it after Visit. The tensor may be a view into the storage of a whole batch: copy
  // it to keep it, unless it is contiguous and its storage holds nothing else. An error ends the
  // pass, which returns it.
  virtual absl::Status Visit(HookId hook, absl::Span<at::Tensor> values) = 0;

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
