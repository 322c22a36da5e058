// A projection of all parts of a Ragged.
#ifndef HOOKWIRE_MODEL_TEXT_PROJECT_H_
#define HOOKWIRE_MODEL_TEXT_PROJECT_H_

#include "model/nn/linear.h"
#include "model/numerics.h"
#include "model/text/ragged.h"

namespace hookwire::model {

// [rows, in] -> [rows, out], part by part; in `invariant`, where a row's bits do not depend on
// which others share its product, all parts at once.
Ragged Project(const Ragged& x, const Linear& linear, Numerics numerics);

// The rows of all parts, one after another.
at::Tensor AllRows(const Ragged& x);
// The inverse: such rows as parts of as many as x has.
Ragged SplitLike(const Ragged& x, const at::Tensor& rows);

}  // namespace hookwire::model

#endif  // HOOKWIRE_MODEL_TEXT_PROJECT_H_
