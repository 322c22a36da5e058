// Plans the sequences, and the layer at which the pass stops.
#include <cstdint>
#include <string>

#include "absl/strings/str_cat.h"
#include "server/errors/status_macros.h"
#include "server/plan/planning.h"

namespace hookwire::server {
namespace {

absl::Status CheckLength(const v1::Sequence& sequence, int index, int64_t n_ctx,
                         const FieldPath& path) {
  const int tokens = sequence.token_ids_size();
  if (tokens == 0) {
    return InputError(v1::ERROR_REASON_SEQUENCE_EMPTY, path,
                      absl::StrCat("sequence ", index, " is empty: it needs at least one token"),
                      {{"sequence", absl::StrCat(index)}});
  }
  if (tokens > n_ctx) {
    return InputError(
        v1::ERROR_REASON_SEQUENCE_TOO_LONG, path,
        absl::StrCat("sequence ", index, " has ", tokens, " tokens: the model takes at most ",
                     n_ctx, " (max_position_embeddings)"),
        {{"sequence", absl::StrCat(index)},
         {"tokens", absl::StrCat(tokens)},
         {"limit", absl::StrCat(n_ctx)}});
  }
  return absl::OkStatus();
}

absl::Status TokenOutOfRange(uint32_t id, int sequence, int position, int64_t limit,
                             const FieldPath& path) {
  return InputError(
      v1::ERROR_REASON_TOKEN_OUT_OF_RANGE, FieldPath(path, "token_ids", position),
      absl::StrCat("token id ", id, " at position ", position, " of sequence ", sequence,
                   " is out of range: token ids of this model go from 0 to ", limit - 1),
      {{"sequence", absl::StrCat(sequence)},
       {"position", absl::StrCat(position)},
       {"token_id", absl::StrCat(id)},
       {"limit", absl::StrCat(limit)}});
}

}  // namespace

absl::Status PlanSequences(Planning& planning) {
  const FieldPath root("spec");
  const v1::RunSpec& spec = planning.spec;
  if (spec.sequences().empty()) {
    return InputError(v1::ERROR_REASON_NO_SEQUENCES, FieldPath(root, "sequences"),
                      "the run has no sequences: it needs at least one");
  }
  uint64_t total = 0;
  for (int s = 0; s < spec.sequences_size(); ++s) {
    HOOKWIRE_RETURN_IF_ERROR(CheckLength(spec.sequences(s), s, planning.model.config().n_ctx,
                                         FieldPath(root, "sequences", s)));
    total += static_cast<uint64_t>(spec.sequences(s).token_ids_size());
  }
  if (total > planning.limits.max_tokens) {
    return InputError(
        v1::ERROR_REASON_TOO_MANY_TOKENS, FieldPath(root, "sequences"),
        absl::StrCat("the run has ", total, " tokens in ", spec.sequences_size(),
                     " sequences: this server takes at most ", planning.limits.max_tokens,
                     " at once"),
        {{"tokens", absl::StrCat(total)}, {"limit", absl::StrCat(planning.limits.max_tokens)}});
  }
  const int64_t limit = planning.model.TokenLimit();
  planning.plan.sequences.reserve(static_cast<size_t>(spec.sequences_size()));
  for (int s = 0; s < spec.sequences_size(); ++s) {
    const auto& ids = spec.sequences(s).token_ids();
    for (int i = 0; i < ids.size(); ++i) {
      if (ids[i] >= static_cast<uint64_t>(limit)) {
        return TokenOutOfRange(ids[i], s, i, limit, FieldPath(root, "sequences", s));
      }
    }
    planning.plan.sequences.emplace_back(ids.begin(), ids.end());
  }
  planning.plan.total_tokens = total;
  return absl::OkStatus();
}

absl::Status PlanStop(Planning& planning) {
  if (!planning.spec.has_stop_at_layer()) return absl::OkStatus();
  const uint32_t stop = planning.spec.stop_at_layer();
  if (stop > static_cast<uint32_t>(planning.n_layers())) {
    const FieldPath root("spec");
    return InputError(
        v1::ERROR_REASON_STOP_OUT_OF_RANGE, FieldPath(root, "stop_at_layer"),
        absl::StrCat("stop_at_layer is ", stop, ": the model has ", planning.n_layers(),
                     " layers, so it goes from 0 (the embedding "
                     "alone) to ",
                     planning.n_layers(), " (everything but the final norm)"),
        {{"stop_at_layer", absl::StrCat(stop)}, {"limit", absl::StrCat(planning.n_layers())}});
  }
  planning.stop = static_cast<int>(stop);
  return absl::OkStatus();
}

}  // namespace hookwire::server
