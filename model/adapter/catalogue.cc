#include "model/adapter/catalogue.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "model/adapter/glob.h"

namespace hookwire::model {
namespace {

Axis MakeAxis(Extent extent, const Config& config, const LayerConfig* layer) {
  const auto d_head = [&config](LayerType type) {
    for (const LayerConfig& other : config.layers) {
      if (other.type == type) return other.d_head;
    }
    return int64_t{0};
  };
  switch (extent) {
    case Extent::kPosition:
      return {AxisKind::kPosition, "pos", 0};
    case Extent::kKeyPosition:
      return {AxisKind::kKeyPosition, "key_pos", 0};
    case Extent::kHead:
      return {AxisKind::kHead, "head", layer->n_heads};
    case Extent::kKeyValueHead:
      return {AxisKind::kKeyValueHead, "key_value_head", layer->n_key_value_heads};
    case Extent::kModel:
      return {AxisKind::kFeature, "d_model", config.d_model};
    case Extent::kHeadWidth:
      return {AxisKind::kFeature, "d_head", layer->d_head};
    case Extent::kSlidingHeadWidth:
      return {AxisKind::kFeature, "d_head", d_head(LayerType::kSliding)};
    case Extent::kFullHeadWidth:
      return {AxisKind::kFeature, "d_head", d_head(LayerType::kFull)};
    case Extent::kMlp:
      return {AxisKind::kFeature, "d_mlp", layer->d_mlp};
    case Extent::kExpert:
      return {AxisKind::kFeature, "expert", config.n_experts};
    case Extent::kChosenExpert:
      return {AxisKind::kFeature, "chosen_expert", config.n_experts_per_token};
    case Extent::kPerLayerInput:
      return {AxisKind::kFeature, "d_per_layer_input", config.d_per_layer_input};
    case Extent::kVocab:
      return {AxisKind::kFeature, "d_vocab", config.d_vocab};
    case Extent::kOne:
    case Extent::kNone:
      break;
  }
  return {AxisKind::kFeature, "one", 1};
}

}  // namespace

Catalogue::Catalogue(const Config& config) : config_(config) {
  const size_t n_sites = static_cast<size_t>(Site::kCount);
  ids_.assign(static_cast<size_t>(config.n_layers()) + 1, std::vector<HookId>(n_sites, kNoHook));
  const absl::Span<const SiteRow> sites = SiteTable();
  size_t i = 0;
  for (; !Row(sites[i].component).per_layer; ++i) Add(sites[i], -1);
  const size_t first_in_block = i;
  for (int layer = 0; layer < config.n_layers(); ++layer) {
    for (i = first_in_block; Row(sites[i].component).per_layer; ++i) Add(sites[i], layer);
  }
  for (; i < sites.size(); ++i) Add(sites[i], -1);

  by_name_.reserve(points_.size() * 2);
  for (const HookPoint& point : points_) {
    by_name_.emplace(point.name, point.id);
    for (const std::string& alias : point.aliases) by_name_.emplace(alias, point.id);
  }
}

void Catalogue::Add(const SiteRow& row, int layer) {
  const ComponentRow& component = Row(row.component);
  if (!IsPresent(component.presence, config_, layer) || !IsPresent(row.presence, config_, layer))
    return;

  HookPoint point;
  point.id = static_cast<HookId>(points_.size());
  point.site = row.site;
  point.layer = layer;
  const std::string prefix = ComponentName(row.component, layer);
  point.name = prefix.empty() ? std::string(row.hook) : absl::StrCat(prefix, ".", row.hook);
  for (absl::string_view alias : absl::StrSplit(row.aliases, ' ', absl::SkipEmpty())) {
    point.aliases.push_back(layer < 0 ? std::string(alias)
                                      : absl::StrCat("blocks.", layer, ".", alias));
  }
  point.axes = AxesOf(row, layer);
  point.dtype = row.dtype;
  point.writable = row.read_only.empty();
  point.read_only_reason = std::string(row.read_only);
  point.module = ModulePath(row.component, config_, layer);
  point.after_blocks = row.site > Site::kBlockOut;
  point.layers_needed = point.after_blocks ? config_.n_layers() : layer + 1;
  ids_[static_cast<size_t>(int64_t{layer} + 1)][static_cast<size_t>(row.site)] = point.id;
  points_.push_back(std::move(point));
}

std::vector<Axis> Catalogue::AxesOf(const SiteRow& row, int layer) const {
  const LayerConfig* at = layer < 0 ? nullptr : &config_.layers[static_cast<size_t>(layer)];
  std::vector<Axis> axes;
  for (const Extent extent : row.axes) {
    if (extent != Extent::kNone) axes.push_back(MakeAxis(extent, config_, at));
  }
  return axes;
}

absl::StatusOr<HookId> Catalogue::Find(absl::string_view name) const {
  const auto it = by_name_.find(name);
  if (it == by_name_.end()) return ExplainName(name);
  return it->second;
}

bool Catalogue::IsGlob(absl::string_view filter) {
  return filter.find('*') != absl::string_view::npos;
}

absl::StatusOr<std::vector<NameMatch>> Catalogue::Match(absl::string_view filter) const {
  std::vector<NameMatch> matches;
  if (!IsGlob(filter)) {
    const auto it = by_name_.find(filter);
    if (it == by_name_.end()) return ExplainName(filter);
    const HookPoint& found = point(it->second);
    if (found.name != filter) matches.push_back({found.id, it->first});
    matches.push_back({found.id, found.name});
    return matches;
  }
  const std::string pattern = ShortestGlob(filter);
  const bool everything = pattern == "**";
  for (const HookPoint& candidate : points_) {
    if (everything || GlobMatches(pattern, candidate.name))
      matches.push_back({candidate.id, candidate.name});
    for (const std::string& alias : candidate.aliases) {
      if (everything || GlobMatches(pattern, alias)) matches.push_back({candidate.id, alias});
    }
  }
  if (matches.empty()) return ExplainGlob(filter);
  return matches;
}

}  // namespace hookwire::model
