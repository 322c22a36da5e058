// The text path's parameters by name, as GetWeight serves them.
//
// A name is the component's (adapter/components.h), a dot, and what the checkpoint calls the
// parameter of that module: "blocks.3.attn.q.weight", "blocks.3.layer_scalar",
// "blocks.1.experts.gate_up_proj", "embed.weight".
#ifndef HOOKWIRE_MODEL_TEXT_PARAMETERS_H_
#define HOOKWIRE_MODEL_TEXT_PARAMETERS_H_

#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "model/config/config.h"

namespace hookwire::model {

struct Parameter {
  std::string name;
  // The tensor that the pass computes with: contiguous, in the compute dtype, on its layer's
  // device. A view of the mapped file where it needed no conversion; never written to.
  at::Tensor tensor;
};

// Immutable; any thread.
class Parameters {
 public:
  Parameters(const Config& config, std::vector<Parameter> parameters);

  // The parameter with this name. NotFound where there is none, with the cause, the nearest right
  // name, and the payloads of a Catalogue error (adapter/catalogue.h): WEIGHT_ABSENT or
  // WEIGHT_NOT_FOUND, and "weight" in place of "hook".
  absl::StatusOr<at::Tensor> Find(absl::string_view name) const;

  // In the order in which they were loaded.
  const std::vector<Parameter>& all() const { return parameters_; }

 private:
  absl::Status Explain(absl::string_view name) const;

  const Config config_;
  const std::vector<Parameter> parameters_;
  // Into parameters_.
  absl::flat_hash_map<std::string, size_t> by_name_;
};

inline constexpr absl::string_view kErrorWeightPayload = "hookwire/meta/weight";

}  // namespace hookwire::model

#endif  // HOOKWIRE_MODEL_TEXT_PARAMETERS_H_
