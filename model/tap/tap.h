// The one interface between the forward pass and whoever reads or writes at its hook points.
//
// The pass asks Wants before it makes anything that only a hook needs; nothing is materialised for
// a place that nobody wants. All calls come from the thread that runs the pass.
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

  // The pass has come to `hook`, which somebody wants. values[s] is sequence s's tensor, with the
  // axes that the catalogue gives, where Wants(hook, s), and undefined elsewhere.
  //
  // Visit may put another tensor of the same shape and dtype into values[s]: every later reader of
  // the place sees that one. It must not write into the tensor that it was given. A tensor may be a
  // view into a batch's storage: who keeps it must copy it, unless it is contiguous and its storage
  // holds nothing else; the pass never writes to a tensor that it has shown. An error ends the
  // pass, which returns it.
  virtual absl::Status Visit(HookId hook, absl::Span<at::Tensor> values) = 0;

  // A part of a layer has run, and another is about to: many times a layer. For whoever shares the
  // device.
  virtual void BetweenSteps() {}

  // `layer` has run. An error (a cancelled run, a passed deadline) ends the pass, which returns it.
  virtual absl::Status LayerDone(int layer) = 0;
};

}  // namespace hookwire::model

#endif  // HOOKWIRE_MODEL_TAP_TAP_H_
