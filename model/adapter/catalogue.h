// The hook points of one checkpoint, derived from the component mapping and the site table
// (adapter/sites.h).
//
// In: a Config. Out: every hook point, with its id, names, axes and dtype; the hook points that a
// name or a glob matches, or an error with the nearest right name. Immutable; any thread.
#ifndef HOOKWIRE_MODEL_ADAPTER_CATALOGUE_H_
#define HOOKWIRE_MODEL_ADAPTER_CATALOGUE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "model/adapter/sites.h"
#include "model/config/config.h"

namespace hookwire::model {

// 0 … Catalogue::size() - 1, in the order of the forward pass.
using HookId = int32_t;
inline constexpr HookId kNoHook = -1;

enum class AxisKind { kPosition, kKeyPosition, kHead, kKeyValueHead, kFeature };

struct Axis {
  AxisKind kind;
  // "pos", "key_pos", "head", "key_value_head", "d_model", "d_head", "d_mlp", "expert", "d_vocab",
  // …
  absl::string_view name;
  // The axis's size; 0 for positions, of which there are as many as the sequence has tokens.
  int64_t size;
};

struct HookPoint {
  HookId id = kNoHook;
  Site site{};
  // -1 if the hook point is not in a block.
  int layer = -1;
  std::string name;
  std::vector<std::string> aliases;
  std::vector<Axis> axes;
  HookDtype dtype = HookDtype::kCompute;
  bool writable = true;
  // If it is not writable: why, and what to write instead.
  std::string read_only_reason;
  // The module in the checkpoint.
  std::string module;
  // The number of layers that must run before this hook point has fired: 0 before the blocks, i + 1
  // for all of blocks.i, n_layers for what comes after them (where `after_blocks` says that the
  // final norm is needed too).
  int layers_needed = 0;
  bool after_blocks = false;
};

// A hook point, and the name (canonical or alias) that a filter matched.
struct NameMatch {
  HookId id;
  absl::string_view name;
};

class Catalogue {
 public:
  explicit Catalogue(const Config& config);
  Catalogue(const Catalogue&) = delete;
  Catalogue& operator=(const Catalogue&) = delete;

  int size() const { return static_cast<int>(points_.size()); }
  const HookPoint& point(HookId id) const { return points_[static_cast<size_t>(id)]; }
  const std::vector<HookPoint>& points() const { return points_; }

  // The id of a site; kNoHook if this layer does not have it. `layer` is -1 for sites outside the
  // blocks.
  HookId id(Site site, int layer = -1) const {
    return ids_[static_cast<size_t>(int64_t{layer} + 1)][static_cast<size_t>(site)];
  }

  // An exact name or alias. NotFound otherwise, with the cause, the nearest right name, and the
  // payloads below.
  absl::StatusOr<HookId> Find(absl::string_view name) const;

  // The hook points that a filter matches. For a canonical name: that name. For an alias: the alias
  // and the canonical name. For a glob: every name and alias that it matches, in the order of the
  // pass. NotFound as for Find, and for a glob without a match.
  absl::StatusOr<std::vector<NameMatch>> Match(absl::string_view filter) const;

  static bool IsGlob(absl::string_view filter);

 private:
  void Add(const SiteRow& row, int layer);
  std::vector<Axis> AxesOf(const SiteRow& row, int layer) const;

  // Why a name is not in the catalogue.
  absl::Status ExplainName(absl::string_view name) const;
  absl::Status ExplainGlob(absl::string_view pattern) const;
  absl::Status ExplainAbsent(absl::string_view asked, const SiteRow& row, absl::string_view rest,
                             int layer) const;
  // The name or alias that is nearest to `name`. If `name` does not begin with "block", the
  // candidates are Globs(), which have one entry for all layers. Empty if none is near.
  std::string Nearest(absl::string_view name) const;
  // All names and aliases, with "blocks.*." in place of a layer.
  std::vector<std::string> Globs() const;

  const Config config_;
  std::vector<HookPoint> points_;
  absl::flat_hash_map<std::string, HookId> by_name_;
  // [layer + 1][site], row 0 for sites outside the blocks.
  std::vector<std::vector<HookId>> ids_;
};

// Payloads of a Catalogue error (absl::Status::GetPayload), which become fields of an error detail:
// the reason "HOOK_NOT_FOUND", "HOOK_ABSENT" or "GLOB_NO_MATCH"; the name that was asked for; the
// cause; what to ask for instead.
inline constexpr absl::string_view kErrorReasonPayload = "hookwire/reason";
inline constexpr absl::string_view kErrorHookPayload = "hookwire/meta/hook";
inline constexpr absl::string_view kErrorCausePayload = "hookwire/meta/cause";
inline constexpr absl::string_view kErrorSuggestionPayload = "hookwire/meta/suggestion";

}  // namespace hookwire::model

#endif  // HOOKWIRE_MODEL_ADAPTER_CATALOGUE_H_
