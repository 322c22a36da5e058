#include "model/text/probe.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "model/guard.h"

namespace hookwire::model {

void Probe::VisitEach(Site site, int layer, std::vector<at::Tensor>& values) const {
  const HookId id = catalogue_.id(site, layer);
  if (id == kNoHook || !tap_.Wants(id)) return;
  std::vector<at::Tensor> shown(values.size());
  for (size_t s = 0; s < values.size(); ++s) {
    if (values[s].defined() && tap_.Wants(id, static_cast<int>(s))) shown[s] = values[s];
  }
  std::vector<RowRange> rows;
  rows.reserve(values.size());
  for (int s = 0; s < layout_.n_sequences(); ++s) {
    const Span& span = layout_.span(s);
    rows.push_back({span.position, span.position + span.length});
  }
  ThrowIfError(tap_.Visit(id, rows, absl::MakeSpan(shown)));
  for (size_t s = 0; s < values.size(); ++s) {
    if (!shown[s].defined() || shown[s].is_same(values[s])) continue;
    if (shown[s].sizes() != values[s].sizes() ||
        shown[s].scalar_type() != values[s].scalar_type()) {
      throw PassEnded(absl::InternalError(
          absl::StrCat("a tap changed the shape or dtype at ", catalogue_.point(id).name)));
    }
    values[s] = std::move(shown[s]);
  }
}

Ragged Probe::VisitWanted(Site site, int layer, Ragged value) const {
  std::vector<at::Tensor> before = layout_.Split(value);
  std::vector<at::Tensor> after = before;
  VisitEach(site, layer, after);
  for (size_t s = 0; s < after.size(); ++s) {
    if (!after[s].is_same(before[s])) return layout_.Join(std::move(after));
  }
  return value;
}

void Probe::LayerDone(int layer) const { ThrowIfError(tap_.LayerDone(layer)); }

}  // namespace hookwire::model
