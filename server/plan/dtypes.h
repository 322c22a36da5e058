// Element types on the wire and in libtorch.
#ifndef HOOKWIRE_SERVER_PLAN_DTYPES_H_
#define HOOKWIRE_SERVER_PLAN_DTYPES_H_

#include <c10/core/ScalarType.h>

#include <string>

#include "absl/status/statusor.h"
#include "hookwire/v1/tensor.pb.h"
#include "model/adapter/catalogue.h"
#include "server/plan/field_path.h"

namespace hookwire::server {

// DTYPE_UNSPECIFIED for types that have no name on the wire.
v1::Dtype ToWire(at::ScalarType dtype);

// ScalarType::Undefined for DTYPE_UNSPECIFIED and for numbers that name no dtype.
at::ScalarType FromWire(v1::Dtype dtype);

// A hook point's own dtype in a model that computes in `compute`.
at::ScalarType DtypeOf(model::HookDtype dtype, at::ScalarType compute);

// The dtype in which a tensor of dtype `own` is sent if `requested` is asked for: its own for
// DTYPE_UNSPECIFIED, any floating-point one for floating-point tensors. InvalidArgument
// (VALUE_DTYPE) otherwise. `name` is the hook point's or output's.
absl::StatusOr<at::ScalarType> WireDtype(v1::Dtype requested, at::ScalarType own,
                                         const std::string& name, const FieldPath& path);

// "float32", "bfloat16", …
std::string DtypeName(at::ScalarType dtype);

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_PLAN_DTYPES_H_
