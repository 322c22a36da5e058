#include "model/text/ragged.h"

#include <ATen/ops/cat.h>

#include <algorithm>
#include <cstddef>

namespace hookwire::model {

Layout::Layout(const std::vector<int64_t>& lengths, Numerics numerics,
               const std::vector<int64_t>& positions)
    : numerics_(numerics) {
  spans_.reserve(lengths.size());
  for (size_t s = 0; s < lengths.size(); ++s) {
    if (numerics != Numerics::kFast || part_rows_.empty()) part_rows_.push_back(0);
    spans_.push_back({static_cast<int>(part_rows_.size()) - 1, part_rows_.back(), lengths[s],
                      positions.empty() ? 0 : positions[s]});
    part_rows_.back() += lengths[s];
  }
}

at::Tensor Layout::Rows(const Ragged& ragged, int sequence) const {
  const Span& at = span(sequence);
  const at::Tensor& part = ragged[static_cast<size_t>(at.part)];
  return at.length == part_rows(at.part) ? part : part.narrow(0, at.row, at.length);
}

at::Tensor Layout::Rows(const Ragged& ragged, const std::vector<int>& sequences) const {
  const Span& first = span(sequences.front());
  int64_t rows = 0;
  bool adjacent = true;
  for (const int s : sequences) {
    adjacent &= span(s).part == first.part && span(s).row == first.row + rows;
    rows += span(s).length;
  }
  if (adjacent) return ragged[static_cast<size_t>(first.part)].narrow(0, first.row, rows);
  std::vector<at::Tensor> each;
  each.reserve(sequences.size());
  for (const int s : sequences) each.push_back(Rows(ragged, s));
  return at::cat(each, 0);
}

std::vector<at::Tensor> Layout::Split(const Ragged& ragged) const {
  std::vector<at::Tensor> rows;
  rows.reserve(spans_.size());
  for (int s = 0; s < n_sequences(); ++s) rows.push_back(Rows(ragged, s));
  return rows;
}

Ragged Layout::Join(std::vector<at::Tensor> sequences) const {
  Ragged out;
  size_t first = 0;
  for (int part = 0; part < n_parts(); ++part) {
    size_t last = first;
    while (last < spans_.size() && spans_[last].part == part) ++last;
    if (last - first == 1) {
      out.push_back(std::move(sequences[first]));
    } else {
      out.push_back(at::cat(at::TensorList(sequences.data() + first, last - first), 0));
    }
    first = last;
  }
  return out;
}

bool Layout::IsUniform() const {
  const Span& first = spans_.front();
  return std::all_of(spans_.begin(), spans_.end(), [&first](const Span& span) {
    return span.length == first.length && span.position == first.position;
  });
}

}  // namespace hookwire::model
