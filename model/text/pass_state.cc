#include "model/text/pass_state.h"

#include <cstdint>
#include <utility>

namespace hookwire::model {
namespace {

// Rows of one sequence that stay.
struct Stay {
  int sequence;
  int64_t first;  // among the rows that the sequence has
  int64_t length;
  int64_t position;  // of the first one
};

void KeepRows(PassState& state, const std::vector<Stay>& stays, absl::Span<Ragged* const> also) {
  std::vector<int64_t> lengths;
  std::vector<int64_t> positions;
  for (const Stay& stay : stays) {
    lengths.push_back(stay.length);
    positions.push_back(stay.position);
  }
  Layout layout(lengths, state.layout.numerics(), positions);
  const auto keep = [&](Ragged& ragged) {
    if (ragged.empty()) return;
    std::vector<at::Tensor> rows;
    rows.reserve(stays.size());
    for (const Stay& stay : stays) {
      rows.push_back(state.layout.Rows(ragged, stay.sequence).narrow(0, stay.first, stay.length));
    }
    ragged = layout.Join(std::move(rows));
  };
  ForEachRagged(state, keep);
  for (Ragged* const ragged : also) keep(*ragged);
  state.layout = std::move(layout);
}

}  // namespace

void KeepSequences(PassState& state, const std::vector<int>& sequences) {
  std::vector<Stay> stays;
  stays.reserve(sequences.size());
  for (const int s : sequences) {
    const Span& span = state.layout.span(s);
    stays.push_back({s, 0, span.length, span.position});
  }
  KeepRows(state, stays, {});
  state.needed.Keep(sequences);
  for (std::vector<KeyValues>& shared : state.shared_key_values) {
    if (shared.empty()) continue;
    std::vector<KeyValues> kept;
    kept.reserve(sequences.size());
    for (const int s : sequences) kept.push_back(shared[static_cast<size_t>(s)]);
    shared = std::move(kept);
  }
}

void LeaveRows(PassState& state, int layer, Place place, absl::Span<Ragged* const> also) {
  if (state.needed.are_all()) return;
  std::vector<Stay> stays;
  bool any_leaves = false;
  for (int s = 0; s < state.layout.n_sequences(); ++s) {
    const Span& span = state.layout.span(s);
    const RowRange needed = state.needed.At(layer, place, s);
    Stay stay = {s, needed.begin - span.position, needed.end - needed.begin, needed.begin};
    if (needed.empty()) stay = {s, 0, 1, 0};
    any_leaves |= stay.length != span.length || stay.position != span.position;
    stays.push_back(stay);
  }
  if (any_leaves) KeepRows(state, stays, also);
}

}  // namespace hookwire::model
