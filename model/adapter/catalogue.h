// The hook points of one checkpoint, derived from the component mapping and the site table (adapter/sites.h).
//
// In: a Config. Out: every hook point with a dense id, its names, axes and dtype; the answer to any name, glob or mistake.
// Immutable; any thread.
#ifndef HOOKWIRE_MODEL_ADAPTER_CATALOGUE_H_
#define HOOKWIRE_MODEL_ADAPTER_CATALOGUE_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "model/adapter/sites.h"
#include "model/config/config.h"

namespace hookwire::model {

// Dense: 0 … Catalogue::size() - 1, in the order in which the pass comes to the hook points.
using HookId = int32_t;
inline constexpr HookId kNoHook = -1;

enum class AxisKind { kPosition, kKeyPosition, kHead, kKeyValueHead, kFeature };

struct Axis {
  AxisKind kind;
  // "pos", "key_pos", "head", "key_value_head", "d_model", "d_head", "d_mlp", "expert", "d_vocab", …
  std::string_view name;
  // Elements; 0 for positions, whose number is the sequence's length.
  int64_t size;
};

// The dtype on the surface. A few places compute in a wider one (norm scales are float32 inside); what is read there is
// rounded to this.
enum class HookDtype { kCompute, kFloat32, kInt64 };

struct HookPoint {
  HookId id = kNoHook;
  Site site{};
  // -1 outside the blocks.
  int layer = -1;
  std::string name;
  std::vector<std::string> aliases;
  std::vector<Axis> axes;
  HookDtype dtype = HookDtype::kCompute;
  bool writable = true;
  // Where it is not: why, and what to write instead.
  std::string read_only_reason;
  // Module in the checkpoint.
  std::string module;
  // The number of layers that must run before this hook point has fired: 0 for the embedding, i + 1 for blocks.i, n_layers
  // and the final norm (`after_blocks`) for the rest. `blocks.i.hook_in` and all of blocks.i count as i + 1.
  int layers_needed = 0;
  bool after_blocks = false;
};

// A hook point, and the name (canonical or alias) by which a filter found it.
struct NameMatch {
  HookId id;
  std::string_view name;
};

class Catalogue {
 public:
  explicit Catalogue(const Config& config);

  int size() const { return static_cast<int>(points_.size()); }
  const HookPoint& point(HookId id) const { return points_[static_cast<size_t>(id)]; }
  const std::vector<HookPoint>& points() const { return points_; }

  // The id of a site; kNoHook where this layer does not have it. `layer` is -1 for sites outside the blocks.
  HookId id(Site site, int layer = -1) const;

  // An exact name or alias. The error's message has the cause and the nearest right name; `why` (HookError) tells an
  // absent hook point from an unknown name and carries both as fields.
  absl::StatusOr<HookId> Find(std::string_view name) const;

  // What a filter string names: an exact name or alias gives the alias (where it was one) and the canonical name; a glob
  // gives every name and alias that it matches, in the order of the pass. Errors as Find, and for a glob without a match.
  absl::StatusOr<std::vector<NameMatch>> Match(std::string_view filter) const;

  static bool IsGlob(std::string_view filter);

 private:
  enum class NameError { kNotFound, kAbsent, kGlobNoMatch };
  absl::Status Error(NameError kind, std::string_view name, std::string_view cause, std::string_view suggestion) const;
  absl::Status Explain(std::string_view name) const;
  std::string Nearest(std::string_view name) const;

  Config config_;
  std::vector<HookPoint> points_;
  absl::flat_hash_map<std::string, HookId> by_name_;
  // [layer + 1][site], row 0 for sites outside the blocks.
  std::vector<std::vector<HookId>> ids_;
};

// Payloads that a Catalogue error carries (absl::Status::GetPayload), so that they can become fields of an error detail.
inline constexpr std::string_view kErrorReasonPayload = "hookwire/reason";  // "HOOK_NOT_FOUND", "HOOK_ABSENT", …
inline constexpr std::string_view kErrorHookPayload = "hookwire/meta/hook";
inline constexpr std::string_view kErrorCausePayload = "hookwire/meta/cause";
inline constexpr std::string_view kErrorSuggestionPayload = "hookwire/meta/suggestion";

}  // namespace hookwire::model

#endif  // HOOKWIRE_MODEL_ADAPTER_CATALOGUE_H_
