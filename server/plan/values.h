// Turns values of interventions into checked numbers and tensors.
#ifndef HOOKWIRE_SERVER_PLAN_VALUES_H_
#define HOOKWIRE_SERVER_PLAN_VALUES_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "hookwire/v1/tensor.pb.h"
#include "model/adapter/catalogue.h"
#include "server/plan/field_path.h"
#include "server/plan/run_plan.h"

namespace hookwire::server {

class OpValue {
 public:
  // InvalidArgument: VALUE_DTYPE if the dtype is not a floating-point one, VALUE_SHAPE if the
  // number of bytes does not fit the shape. `value`, and `path`, its path, must outlive this.
  static absl::StatusOr<OpValue> Parse(const v1::Value& value, bool allow_non_finite,
                                       const FieldPath& path);

  // A single number; absent for tensors.
  const std::optional<double>& scalar() const { return scalar_; }

  // A copy of the tensor in `dtype` (undefined for a scalar), once it has been checked that hook
  // point `point`, whose dtype that is, may take it: InvalidArgument (VALUE_NOT_FINITE) for NaN and
  // infinity, and for numbers that become infinite in `dtype`.
  absl::StatusOr<at::Tensor> For(const model::HookPoint& point, at::ScalarType dtype);

  // InvalidArgument (VALUE_SHAPE) where the tensor does not broadcast to `slice` of `point`.
  absl::Status CheckShape(const model::HookPoint& point, const Slice& slice, int64_t length) const;

 private:
  explicit OpValue(const FieldPath& path) : path_(&path) {}

  const FieldPath* path_;
  bool allow_non_finite_ = false;
  std::optional<double> scalar_;
  // Over the bytes of the request; undefined for a scalar.
  at::Tensor tensor_;
  // Results of For, by dtype and by whether −inf was allowed.
  struct Converted {
    at::ScalarType dtype;
    bool negative_infinity;
    at::Tensor tensor;
  };
  std::vector<Converted> converted_;
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_PLAN_VALUES_H_
