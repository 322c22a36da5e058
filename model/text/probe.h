// A Tap as the forward pass calls it: with ragged values, and at almost no cost where no sequence
// wants a hook point.
#ifndef HOOKWIRE_MODEL_TEXT_PROBE_H_
#define HOOKWIRE_MODEL_TEXT_PROBE_H_

#include <ATen/core/Tensor.h>

#include <utility>
#include <vector>

#include "model/adapter/catalogue.h"
#include "model/guard.h"
#include "model/tap/tap.h"
#include "model/text/ragged.h"

namespace hookwire::model {

class Probe {
 public:
  // All must outlive the probe.
  Probe(const Catalogue& catalogue, const Layout& layout, Tap& tap)
      : catalogue_(catalogue), layout_(layout), tap_(tap) {}

  const Layout& layout() const { return layout_; }
  // A probe for values with another layout, such as shared keys. `layout` must outlive the probe.
  Probe Over(const Layout& layout) const { return {catalogue_, layout, tap_}; }

  bool Wants(Site site, int layer) const {
    const HookId id = catalogue_.id(site, layer);
    return id != kNoHook && tap_.Wants(id);
  }
  bool Wants(Site site, int layer, int sequence) const {
    const HookId id = catalogue_.id(site, layer);
    return id != kNoHook && tap_.Wants(id) && tap_.Wants(id, sequence);
  }

  // Between two steps of the pass (Tap::BetweenSteps). Throws PassEnded.
  void Step() const { ThrowIfError(tap_.BetweenSteps()); }

  // Shows a value to the tap and returns the value to continue with: the same parts where the tap
  // has changed none. A step begins here. Throws PassEnded.
  Ragged Visit(Site site, int layer, Ragged value) const {
    Step();
    return Wants(site, layer) ? VisitWanted(site, layer, std::move(value)) : value;
  }

  // The same for values that are one tensor a sequence; undefined ones, and those of sequences that
  // do not want the hook point, are not shown.
  void VisitEach(Site site, int layer, std::vector<at::Tensor>& values) const;

  void LayerDone(int layer) const;

 private:
  Ragged VisitWanted(Site site, int layer, Ragged value) const;

  const Catalogue& catalogue_;
  const Layout& layout_;
  Tap& tap_;
};

}  // namespace hookwire::model

#endif  // HOOKWIRE_MODEL_TEXT_PROBE_H_
