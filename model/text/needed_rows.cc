#include "model/text/needed_rows.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>

#include "absl/strings/string_view.h"
#include "model/adapter/sites.h"

namespace hookwire::model {
namespace {

constexpr int kPlaces = 3;

// The smallest range that has all rows of both.
RowRange Hull(const RowRange& a, const RowRange& b) {
  if (a.empty()) return b;
  if (b.empty()) return a;
  return {std::min(a.begin, b.begin), std::max(a.end, b.end)};
}

// Whether this site is computed by operators whose bits depend on the number of rows. In
// `invariant` all others compute each row by itself.
bool DependsOnRowCount(Site site) {
  if (site == Site::kQInput || site == Site::kAttnScores || site == Site::kPattern ||
      site == Site::kResult) {
    return true;
  }
  // A norm in steps.
  const absl::string_view hook = SiteTable()[static_cast<size_t>(site)].hook;
  return hook == "hook_scale" || hook == "hook_normalized";
}

// The last place that comes before the hook point's rows are used for the last time; absent where
// that is before the layers.
std::optional<std::pair<int, Place>> PlaceOf(const Config& config, const HookPoint& point) {
  if (point.after_blocks) return std::pair(config.n_layers(), Place::kLayer);
  if (point.layer < 0) return std::nullopt;
  if (point.site >= Site::kKIn && point.site <= Site::kRotV) {
    const LayerConfig& layer = config.layers[static_cast<size_t>(point.layer)];
    return std::pair(layer.key_value_source.value_or(point.layer), Place::kLayer);
  }
  // A changed input of the query heads is projected together with the queries.
  if (point.site < Site::kQIn && point.site != Site::kQInput)
    return std::pair(point.layer, Place::kLayer);
  if (point.site < Site::kResidMid) return std::pair(point.layer, Place::kQueries);
  return std::pair(point.layer, Place::kMlp);
}

bool HasKeyPositions(const HookPoint& point) {
  return std::any_of(point.axes.begin(), point.axes.end(),
                     [](const Axis& axis) { return axis.kind == AxisKind::kKeyPosition; });
}

}  // namespace

NeededRows::NeededRows(const Config& config, const Catalogue& catalogue, const Layout& layout,
                       const Tap& tap) {
  const auto n_sequences = static_cast<size_t>(layout.n_sequences());
  const size_t n_places = Index(config.n_layers(), Place::kLayer) + 1;
  const bool invariant = layout.numerics() == Numerics::kInvariant;
  std::vector<std::vector<RowRange>> rows(n_sequences, std::vector<RowRange>(n_places));
  const bool known = tap.ForEachRead([&](int sequence, HookId hook, RowRange read) {
    const HookPoint& point = catalogue.point(hook);
    const std::optional<std::pair<int, Place>> place = PlaceOf(config, point);
    if (!place.has_value()) return;
    const int64_t length = layout.span(sequence).length;
    if (invariant && DependsOnRowCount(point.site)) read = {0, length};
    // The axis of keys shows all of them, those behind a query too.
    if (HasKeyPositions(point)) read.end = length;
    RowRange& at = rows[static_cast<size_t>(sequence)][Index(place->first, place->second)];
    at = Hull(at, read);
  });
  if (!known) return;
  for (size_t s = 0; s < n_sequences; ++s) {
    RowRange needed;
    for (size_t i = n_places; i-- > 0;) {
      RowRange& here = rows[s][i];
      needed = Hull(needed, here);
      const size_t layer = i / kPlaces;
      if (i % kPlaces == 0 && layer < config.layers.size() &&
          !config.layers[layer].shares_key_values() && !needed.empty()) {
        needed.begin = 0;
        if (invariant) needed.end = layout.span(static_cast<int>(s)).length;
      }
      here = needed;
    }
  }
  rows_ = std::move(rows);
}

size_t NeededRows::Index(int layer, Place place) {
  return static_cast<size_t>(layer) * kPlaces + static_cast<size_t>(place);
}

void NeededRows::Keep(const std::vector<int>& sequences) {
  if (are_all()) return;
  std::vector<std::vector<RowRange>> kept;
  kept.reserve(sequences.size());
  for (const int s : sequences) kept.push_back(std::move(rows_[static_cast<size_t>(s)]));
  rows_ = std::move(kept);
}

}  // namespace hookwire::model
