// A projection of all parts of a Ragged.
#ifndef HOOKWIRE_MODEL_TEXT_PROJECT_H_
#define HOOKWIRE_MODEL_TEXT_PROJECT_H_

#include "model/nn/linear.h"
#include "model/numerics.h"
#include "model/text/ragged.h"

namespace hookwire::model {

// [rows, in] -> [rows, out]: one product for each part. In `invariant` one product for all parts,
// since a row's bits do not depend on the other rows there.
Ragged Project(const Ragged& x, const Linear& linear, Numerics numerics);

// The rows of all parts in one tensor, in order.
at::Tensor AllRows(const Ragged& x);
// The inverse of AllRows: cuts `rows` into parts with as many rows as those of x.
Ragged SplitLike(const Ragged& x, const at::Tensor& rows);

}  // namespace hookwire::model

#endif  // HOOKWIRE_MODEL_TEXT_PROJECT_H_
