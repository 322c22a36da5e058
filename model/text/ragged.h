// Tokens of several sequences, laid end to end without padding.
//
// A Layout groups the sequences into parts, each one tensor. `fast` puts all sequences into one
// part, so that row-wise operators run on all tokens at once. `reference` and `invariant` give each
// sequence a part of its own, because the bits of most operators depend on the number of rows. The
// rest of the forward pass works on a list of parts, whatever the numerics.
#ifndef HOOKWIRE_MODEL_TEXT_RAGGED_H_
#define HOOKWIRE_MODEL_TEXT_RAGGED_H_

#include <ATen/core/Tensor.h>
#include <c10/util/SmallVector.h>

#include <cstdint>
#include <utility>
#include <vector>

#include "model/numerics.h"

namespace hookwire::model {

// One tensor a part, [rows of the part, …].
using Ragged = c10::SmallVector<at::Tensor, 1>;

// Where the rows of a sequence are.
struct Span {
  int part;
  int64_t row;     // first row in the part
  int64_t length;  // rows
  int64_t
      position;  // of the first row in the sequence; not 0 where earlier rows have left the pass
};

class Layout {
 public:
  Layout() = default;
  // `positions`: of each sequence's first row; empty means 0 for all.
  Layout(const std::vector<int64_t>& lengths, Numerics numerics,
         const std::vector<int64_t>& positions = {});

  Numerics numerics() const { return numerics_; }
  int n_sequences() const { return static_cast<int>(spans_.size()); }
  int n_parts() const { return static_cast<int>(part_rows_.size()); }
  const Span& span(int sequence) const { return spans_[static_cast<size_t>(sequence)]; }
  int64_t part_rows(int part) const { return part_rows_[static_cast<size_t>(part)]; }

  // The rows of one sequence: its part where no other sequence is in it, else a view into it.
  at::Tensor Rows(const Ragged& ragged, int sequence) const;
  // The rows of several sequences, in this order: a view where they are adjacent in one part, else
  // a copy.
  at::Tensor Rows(const Ragged& ragged, const std::vector<int>& sequences) const;
  // All sequences' rows.
  std::vector<at::Tensor> Split(const Ragged& ragged) const;
  // Whether all sequences have the same length and position.
  bool IsUniform() const;
  // The inverse of Split: makes parts of one tensor a sequence, [length, …].
  Ragged Join(std::vector<at::Tensor> sequences) const;

 private:
  Numerics numerics_ = Numerics::kFast;
  std::vector<Span> spans_;
  std::vector<int64_t> part_rows_;
};

// f applied to each part.
template <typename F>
Ragged Map(const Ragged& a, F&& f) {
  Ragged out;
  out.reserve(a.size());
  for (const at::Tensor& part : a) out.push_back(f(part));
  return out;
}

template <typename F>
Ragged Map(const Ragged& a, const Ragged& b, F&& f) {
  Ragged out;
  out.reserve(a.size());
  for (size_t i = 0; i < a.size(); ++i) out.push_back(f(a[i], b[i]));
  return out;
}

}  // namespace hookwire::model

#endif  // HOOKWIRE_MODEL_TEXT_RAGGED_H_
