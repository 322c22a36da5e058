#include "model/text/parameters.h"

#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "model/adapter/components.h"
#include "model/adapter/name_errors.h"
#include "model/adapter/nearest.h"

namespace hookwire::model {
namespace {

absl::Status Error(absl::string_view reason, absl::string_view name, absl::string_view message,
                   absl::string_view cause, absl::string_view suggestion) {
  return NameError(reason, kErrorWeightPayload, name, message, cause, suggestion);
}

absl::Status Absent(absl::string_view name, const std::string& cause,
                    absl::string_view suggestion = "") {
  return Error("WEIGHT_ABSENT", name, absl::StrCat(Shown(name), " does not exist: ", cause), cause,
               suggestion);
}

// The component of a layer (or of the whole model) with the longest name that `rest`, a name
// without "blocks.<i>.", begins with; null where there is none. Removes that name from `rest`.
const ComponentRow* FindComponent(bool per_layer, absl::string_view& rest) {
  const ComponentRow* found = nullptr;
  for (const ComponentRow& row : ComponentTable()) {
    if (row.per_layer != per_layer || row.name.empty()) continue;
    if (!absl::StartsWith(rest, absl::StrCat(row.name, "."))) continue;
    if (found == nullptr || row.name.size() > found->name.size()) found = &row;
  }
  if (found != nullptr) rest.remove_prefix(found->name.size() + 1);
  return found;
}

// Why a layer has no keys or values of its own, and whose it uses.
absl::Status NoKeyValues(const Config& config, absl::string_view name, int layer,
                         const ComponentRow& row, absl::string_view leaf) {
  const bool values = row.component == Component::kV;
  const auto projection = [&](int at) {
    const bool is_key = values && config.layers[static_cast<size_t>(at)].key_is_value;
    return absl::StrCat(ComponentName(is_key ? Component::kK : row.component, at), ".", leaf);
  };
  const LayerConfig& at = config.layers[static_cast<size_t>(layer)];
  if (at.shares_key_values()) {
    const int source = *at.key_value_source;
    const std::string there = projection(source);
    return Absent(name,
                  absl::StrCat("layer ", layer, " reuses the keys and values of layer ", source,
                               "; they are made by ", there),
                  there);
  }
  const std::string there = projection(layer);
  return Absent(
      name,
      absl::StrCat("layer ", layer,
                   " has no value projection, its values are its keys' (K==V), made by ", there),
      there);
}

}  // namespace

Parameters::Parameters(const Config& config, std::vector<Parameter> parameters)
    : config_(config), parameters_(std::move(parameters)) {
  for (size_t i = 0; i < parameters_.size(); ++i) by_name_.emplace(parameters_[i].name, i);
}

absl::StatusOr<at::Tensor> Parameters::Find(absl::string_view name) const {
  const auto it = by_name_.find(name);
  if (it == by_name_.end()) return Explain(name);
  return parameters_[it->second].tensor;
}

absl::Status Parameters::Explain(absl::string_view name) const {
  if (absl::StripAsciiWhitespace(name).empty()) {
    return Error("WEIGHT_NOT_FOUND", name,
                 absl::StrCat("the name of a parameter is ", name.empty() ? "empty" : "blank",
                              "; one is \"embed.weight\""),
                 "", "");
  }
  absl::string_view rest = name;
  int layer = -1;
  if (const std::optional<BlockName> block = ParseBlockName(name); block && block->layer >= 0) {
    layer = block->layer;
    rest = block->rest;
  }
  if (layer < config_.n_layers()) {
    const ComponentRow* const row = FindComponent(layer >= 0, rest);
    if (row != nullptr && !IsPresent(row->presence, config_, layer)) {
      switch (row->presence) {
        case Presence::kPerLayerInputs:
          return Absent(name,
                        "this checkpoint has no per-layer embeddings (only E2B and E4B have)");
        case Presence::kExperts:
          return Absent(name, "this checkpoint has no experts (only 26B-A4B has)");
        case Presence::kOwnKeyValues:
        case Presence::kOwnValues:
          if (row->component == Component::kVNorm) break;
          return NoKeyValues(config_, name, layer, *row, rest);
        default:
          return Absent(name, "this layer does not have it");
      }
    }
    if (row != nullptr && row->component == Component::kVNorm)
      return Absent(name, "the norm of the values has no weight: it only divides by their scale");
    if (row != nullptr && rest == "bias") {
      const std::string weight = absl::StrCat(ComponentName(row->component, layer), ".weight");
      if (by_name_.contains(weight)) return Absent(name, "it has no bias, only a weight", weight);
    }
  }
  std::vector<std::string> names;
  names.reserve(parameters_.size());
  for (const Parameter& parameter : parameters_) names.push_back(parameter.name);
  const std::string suggestion = NearestName(name, names);
  const std::string layers =
      layer >= config_.n_layers()
          ? absl::StrCat(": this model has layers 0 to ", config_.n_layers() - 1)
          : "";
  return Error(
      "WEIGHT_NOT_FOUND", name,
      absl::StrCat("no parameter ", Shown(name), layers,
                   DidYouMean(suggestion, layers.empty() ? ", nor one with a name like it" : "")),
      "", suggestion);
}

}  // namespace hookwire::model
