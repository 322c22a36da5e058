// The catalogue's errors for names that it does not have: the cause, and the nearest right name.
#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "model/adapter/catalogue.h"
#include "model/adapter/glob.h"
#include "model/adapter/name_errors.h"
#include "model/adapter/nearest.h"

namespace hookwire::model {
namespace {

// The end of an error about a name to which no other is near.
constexpr absl::string_view kListed =
    ", nor one with a name like it; `hookwire hooks` and ListHooks list those of this model";

absl::Status HookError(absl::string_view reason, absl::string_view name, absl::string_view message,
                       absl::string_view cause, absl::string_view suggestion) {
  return NameError(reason, kErrorHookPayload, name, message, cause, suggestion);
}

absl::Status AbsentError(absl::string_view name, absl::string_view cause,
                         absl::string_view suggestion) {
  return HookError("HOOK_ABSENT", name, absl::StrCat(Shown(name), " does not exist: ", cause),
                   cause, suggestion);
}

// The names of a layer's site without "blocks.<i>.", the canonical one first.
std::vector<std::string> RelativeNames(const SiteRow& row) {
  const absl::string_view component = Row(row.component).name;
  std::vector<std::string> names = {component.empty() ? std::string(row.hook)
                                                      : absl::StrCat(component, ".", row.hook)};
  for (absl::string_view alias : absl::StrSplit(row.aliases, ' ', absl::SkipEmpty()))
    names.emplace_back(alias);
  return names;
}

// The site of a layer that has this name after "blocks.<i>.", on any checkpoint.
const SiteRow* FindSite(absl::string_view rest) {
  for (const SiteRow& row : SiteTable()) {
    if (!Row(row.component).per_layer) continue;
    for (const std::string& name : RelativeNames(row)) {
      if (name == rest) return &row;
    }
  }
  return nullptr;
}

}  // namespace

absl::Status Catalogue::ExplainAbsent(absl::string_view asked, const SiteRow& row,
                                      absl::string_view rest, int layer) const {
  const auto lacks = [this, layer](Presence presence) {
    return !IsPresent(presence, config_, layer);
  };
  const Presence component = Row(row.component).presence;
  for (const Presence presence : {component, row.presence}) {
    if (!lacks(presence)) continue;
    switch (presence) {
      case Presence::kPerLayerInputs:
        return AbsentError(
            asked, "this checkpoint has no per-layer embeddings (only E2B and E4B have)", "");
      case Presence::kExperts:
        return AbsentError(asked, "this checkpoint has no experts (only 26B-A4B has)", "");
      case Presence::kOwnKeyValues:
      case Presence::kOwnValues:
        break;
      default:
        return AbsentError(asked, "this layer does not have it", "");
    }
    const LayerConfig& at = config_.layers[static_cast<size_t>(layer)];
    if (at.shares_key_values()) {
      const int source = *at.key_value_source;
      const bool values = row.site == Site::kVInput || row.component == Component::kV ||
                          row.component == Component::kVNorm;
      std::string there = absl::StrCat("blocks.", source, ".", rest);
      if (!by_name_.contains(there))
        there = absl::StrCat("blocks.", source, ".attn.v_norm.hook_in");
      return AbsentError(asked,
                         absl::StrCat("layer ", layer, " reuses the keys and values of layer ",
                                      source, "; its ", values ? "values" : "keys", " are ", there),
                         there);
    }
    const std::string instead = absl::StrCat("blocks.", layer, ".attn.v_norm.hook_in");
    return AbsentError(
        asked,
        absl::StrCat("layer ", layer,
                     " has no value projection, its values are its keys' (K==V); they are ",
                     instead),
        instead);
  }
  return AbsentError(asked, "this layer does not have it", "");
}

absl::Status Catalogue::ExplainName(absl::string_view name) const {
  if (absl::StripAsciiWhitespace(name).empty()) {
    return HookError("HOOK_NOT_FOUND", name,
                     absl::StrCat("the name of a hook point is ", name.empty() ? "empty" : "blank",
                                  "; `hookwire hooks` and ListHooks list the names of this model"),
                     "", "");
  }
  if (const std::optional<BlockName> block = ParseBlockName(name)) {
    const SiteRow* row = FindSite(block->rest);
    if (block->layer < 0 || block->layer >= config_.n_layers()) {
      const int near = std::clamp(block->layer, 0, config_.n_layers() - 1);
      const std::string suggestion = Nearest(absl::StrCat("blocks.", near, ".", block->rest));
      return HookError("HOOK_NOT_FOUND", name,
                       absl::StrCat("no hook point ", Shown(name), ": this model has layers 0 to ",
                                    config_.n_layers() - 1, DidYouMean(suggestion, "")),
                       "", suggestion);
    }
    if (row != nullptr && id(row->site, block->layer) == kNoHook)
      return ExplainAbsent(name, *row, block->rest, block->layer);
    if (row != nullptr) {
      // The layer's number is not written as in our names ("01").
      const std::string suggestion = absl::StrCat("blocks.", block->layer, ".", block->rest);
      return HookError(
          "HOOK_NOT_FOUND", name,
          absl::StrCat("no hook point ", Shown(name), "; did you mean ", suggestion, "?"), "",
          suggestion);
    }
  }
  for (const absl::string_view hook :
       {"rotary_emb.hook_in", "rotary_emb.hook_cos", "rotary_emb.hook_sin"}) {
    if (name != hook) continue;
    const absl::string_view last = hook.substr(hook.find('.') + 1);
    const std::string full = absl::StrCat("rotary_emb.full_attention.", last);
    const std::string sliding = absl::StrCat("rotary_emb.sliding_attention.", last);
    return AbsentError(
        name,
        absl::StrCat(
            "there is one set of frequencies a layer type; the names are ",
            config_.has_layer_type(LayerType::kSliding) ? absl::StrCat(sliding, " and ") : "",
            full),
        full);
  }
  if (absl::StartsWith(name, "vision_encoder") || absl::StartsWith(name, "vision_projector")) {
    return AbsentError(
        name,
        "this server runs the text path; vision hook points fire only where a run has an image",
        "");
  }
  // The name of a component, to which a hook's name was not added.
  const std::string out = absl::StrCat(name.substr(0, kShownChars), ".hook_out");
  const std::string suggestion = by_name_.contains(out) ? out : Nearest(name);
  return HookError("HOOK_NOT_FOUND", name,
                   absl::StrCat("no hook point ", Shown(name), DidYouMean(suggestion, kListed)), "",
                   suggestion);
}

absl::Status Catalogue::ExplainGlob(absl::string_view pattern) const {
  // A hook point of other checkpoints is the better explanation than a similar name.
  if (pattern.size() <= kShownChars) {
    for (int layer = 0; layer < config_.n_layers(); ++layer) {
      for (const SiteRow& row : SiteTable()) {
        if (!Row(row.component).per_layer || id(row.site, layer) != kNoHook) continue;
        for (const std::string& rest : RelativeNames(row)) {
          const std::string name = absl::StrCat("blocks.", layer, ".", rest);
          if (!GlobMatches(pattern, name)) continue;
          const absl::Status absent = ExplainAbsent(name, row, rest, layer);
          const std::string cause(*absent.GetPayload(kErrorCausePayload));
          const auto instead = absent.GetPayload(kErrorSuggestionPayload);
          return HookError("GLOB_NO_MATCH", pattern,
                           absl::StrCat("no hook point matches ", pattern, ": ", cause), cause,
                           instead ? std::string(*instead) : "");
        }
      }
    }
  }
  const std::string suggestion = NearestHookName(pattern, Globs());
  return HookError(
      "GLOB_NO_MATCH", pattern,
      absl::StrCat("no hook point matches ", Shown(pattern), DidYouMean(suggestion, kListed)), "",
      suggestion);
}

std::vector<std::string> Catalogue::Globs() const {
  std::vector<std::string> globs;
  absl::flat_hash_set<std::string> known;
  const auto add = [&](const std::string& name) {
    const std::optional<BlockName> block = ParseBlockName(name);
    std::string glob = block ? absl::StrCat("blocks.*.", block->rest) : name;
    if (known.insert(glob).second) globs.push_back(std::move(glob));
  };
  for (const HookPoint& point : points_) {
    add(point.name);
    for (const std::string& alias : point.aliases) add(alias);
  }
  return globs;
}

std::string Catalogue::Nearest(absl::string_view name) const {
  // "resid_post", as TransformerLens's caches take it, is of all layers.
  if (!absl::StartsWithIgnoreCase(absl::StripAsciiWhitespace(name), "block")) {
    return NearestHookName(name, Globs());
  }
  std::vector<std::string> names;
  names.reserve(points_.size() * 2);
  for (const HookPoint& point : points_) {
    names.push_back(point.name);
    names.insert(names.end(), point.aliases.begin(), point.aliases.end());
  }
  return NearestHookName(name, names);
}

}  // namespace hookwire::model
