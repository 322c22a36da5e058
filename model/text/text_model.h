// Gemma 4's text path: embedding, decoder layers, final norm, unembedding.
//
// In: token sequences and a Tap. Out: logits of the rows that someone reads, and whatever the tap
// saw. Runs on the caller's thread (libtorch's own threads compute); no exception leaves it. Any
// number of threads may run passes at once, each with its own PassState.
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
    // Where the weights are put: on several devices whole layers on each, in this order
    // (placement.h). Weights on the CPU whose dtype fits stay in the mapped file.
    std::vector<DeviceRoom> devices = {DeviceRoom{}};
    // For passes in Numerics::kInvariant, and no others; they record no gradients.
    // FailedPrecondition where this machine's products cannot be made so (CpuLinear, FindRowTiles).
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
  // Those that hold weights, in the order in which a pass goes through them; at least one.
  const std::vector<at::Device>& devices() const;
  // The factor of each layer's output.
  const std::vector<double>& layer_scalars() const;
  // All weights that the text path uses, by name.
  const Parameters& parameters() const;
  // Elements of all weights that the text path uses.
  int64_t n_params() const;

  // Embeds the sequences, whose token ids the caller has checked (TokenLimit), and visits what lies
  // before layer 0.
  absl::StatusOr<PassState> Begin(std::vector<std::vector<int64_t>> sequences, Numerics numerics,
                                  Tap& tap) const;

  // Runs layers state.next_layer() … end_layer - 1.
  absl::Status RunLayers(PassState& state, int end_layer, Tap& tap) const;

  // Takes `logits`, [n, d_vocab] in the compute dtype after the softcap: those of the rows
  // rows[sequence][first] and the n - 1 that follow there. It may be a view into a batch's storage.
  // An error ends the pass, which returns it.
  using LogitsSink =
      absl::FunctionRef<absl::Status(int sequence, int64_t first, const at::Tensor& logits)>;

  // Final norm and unembedding. `rows[s]` are the positions of sequence s whose logits are wanted,
  // in any order, possibly none. The sink gets them sequence by sequence, and each sequence's in
  // the order of rows[s]. At most Options::max_logits_bytes of logits exist at once, or one row;
  // more only where someone looks at the unembedding's own hook points, and in `reference`, where
  // the bits of a row depend on how many rows there are: a sequence's logits then exist as a whole.
  absl::Status Finish(PassState& state, const std::vector<std::vector<int64_t>>& rows, Tap& tap,
                      LogitsSink sink) const;

  // Lets all other sequences leave the pass, at the boundary of two layers; those that stay keep
  // their order. In `fast` the bits of what follows may depend on who stays.
  static absl::Status Keep(PassState& state, const std::vector<int>& sequences);

  // From here on, no layer has keys and values of its own: what leaves a row there is read in that
  // row alone. n_layers() where there are no such layers.
  int first_sharing_layer() const;

  // At first_sharing_layer(), lets rows leave that nobody will read: of sequence s those before
  // position first_read[s], but for its last one. From here on hook points show what is left: along
  // their axis of positions the last ones; keys and values stay whole. Only in `fast`: else bits
  // depend on the number of rows.
  absl::Status DropUnread(PassState& state, const std::vector<int64_t>& first_read) const;

  // The residual stream of each sequence as it enters state.next_layer(): [pos, d_model], without
  // the rows that have left.
  static std::vector<at::Tensor> Residual(const PassState& state);

  // Token ids must be below this: the smaller of d_vocab and the per-layer embedding table's rows.
  int64_t TokenLimit() const;

 private:
  struct Impl;
  explicit TextModel(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace hookwire::model

#endif  // HOOKWIRE_MODEL_TEXT_TEXT_MODEL_H_
