// Gemma 4's text path: embedding, decoder layers, final norm, unembedding.
//
// In: token sequences and a Tap. Out: the logits that are asked for, and the tensors that the tap
// is shown. Runs on the caller's thread, with libtorch's threads under it; throws nothing. Any
// number of threads may run passes at once, each with its own PassState. A pass is Begin, RunLayers
// (as often as the caller wants to stop between layers) and Finish.
#ifndef HOOKWIRE_MODEL_TEXT_TEXT_MODEL_H_
#define HOOKWIRE_MODEL_TEXT_TEXT_MODEL_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "model/adapter/catalogue.h"
#include "model/checkpoint/checkpoint.h"
#include "model/tap/tap.h"
#include "model/text/parameters.h"
#include "model/text/pass_state.h"
#include "model/text/placement.h"

namespace hookwire::model {

class TextModel {
 public:
  struct Options {
    // The dtype to compute in; absent means the checkpoint's own.
    std::optional<at::ScalarType> dtype;
    // Where the weights are put. Several devices get whole layers each, in this order
    // (placement.h). On the CPU, weights that are in the compute dtype already are used in the
    // mapped file.
    std::vector<DeviceRoom> devices = {DeviceRoom{}};
    // The model runs passes in Numerics::kInvariant and no others, and these record no gradients.
    // FailedPrecondition where no product on this machine is invariant (HasCpuLinear,
    // FindRowTiles).
    bool invariant = false;
    // The most bytes of logits that Finish makes at once.
    int64_t max_logits_bytes = int64_t{64} << 20;
  };

  // InvalidArgument or NotFound where a weight is missing or has another shape than config.json
  // says.
  static absl::StatusOr<std::unique_ptr<const TextModel>> Load(
      std::shared_ptr<const Checkpoint> checkpoint, const Options& options);
  ~TextModel();

  const Config& config() const;
  const Catalogue& catalogue() const;
  at::ScalarType dtype() const;
  // The devices that hold weights, at least one, in the order in which a pass visits them.
  const std::vector<at::Device>& devices() const;
  // By layer: the factor of its output.
  const std::vector<double>& layer_scalars() const;
  // The weights that the text path uses, by name.
  const Parameters& parameters() const;
  // How many numbers the weights of the text path have.
  int64_t n_params() const;
  // Names of the checkpoint's tensors that no part of the text path reads, sorted; without those of
  // parts that are known and left alone (adapter/unread_tensors.h).
  const std::vector<std::string>& unread_tensors() const;

  // Embeds the sequences, and visits the hook points before layer 0. Asks the tap what is read
  // (Tap::ForEachRead): rows that nothing reads any more leave the pass before and within later
  // layers, but in `reference`. REQUIRES: every token id is below TokenLimit().
  absl::StatusOr<PassState> Begin(std::vector<std::vector<int64_t>> sequences, Numerics numerics,
                                  Tap& tap) const;

  // Runs layers state.next_layer … end_layer - 1.
  absl::Status RunLayers(PassState& state, int end_layer, Tap& tap) const;

  // Is given `logits`, [n, d_vocab] in the compute dtype after the softcap, of the positions
  // rows[sequence][first] … rows[sequence][first + n - 1]. They may be a view into the storage of a
  // whole batch. An error ends the pass, which returns it.
  using LogitsSink =
      absl::FunctionRef<absl::Status(int sequence, int64_t first, const at::Tensor& logits)>;

  // Final norm and unembedding. `rows[s]` are the positions of sequence s whose logits are wanted,
  // in any order, possibly none. The sink is given them sequence by sequence, and within a sequence
  // in the order of rows[s]. At most Options::max_logits_bytes of logits exist at once, or one row.
  // There are more in two cases: a hook wants unembed.hook_out or the logits, for which they exist
  // for all sequences; or numerics are `reference`, where the bits of a row depend on the number of
  // rows, and all logits of one sequence exist.
  absl::Status Finish(PassState& state, const std::vector<std::vector<int64_t>>& rows, Tap& tap,
                      LogitsSink sink) const;

  // Between two layers, drops all other sequences from the pass; `sequences` is ascending. In
  // `fast` the bits of the rest of the pass may depend on which sequences remain.
  static absl::Status Keep(PassState& state, const std::vector<int>& sequences);

  // The residual stream of each sequence as it enters layer state.next_layer: [pos, d_model],
  // without the rows that have left.
  static std::vector<at::Tensor> Residual(const PassState& state);

  // Token ids must be below this: d_vocab, or the number of rows of the per-layer embedding table
  // where that is smaller.
  int64_t TokenLimit() const;

 private:
  struct Impl;
  explicit TextModel(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace hookwire::model

#endif  // HOOKWIRE_MODEL_TEXT_TEXT_MODEL_H_
