#include "server/plan/dtypes.h"

#include "absl/strings/str_cat.h"

namespace hookwire::server {
namespace {

struct DtypeRow {
  v1::Dtype wire;
  at::ScalarType scalar;
  const char* name;
};

constexpr DtypeRow kDtypes[] = {
    {v1::DTYPE_FLOAT32, at::kFloat, "float32"}, {v1::DTYPE_BFLOAT16, at::kBFloat16, "bfloat16"},
    {v1::DTYPE_FLOAT16, at::kHalf, "float16"},  {v1::DTYPE_FLOAT64, at::kDouble, "float64"},
    {v1::DTYPE_INT64, at::kLong, "int64"},
};

}  // namespace

v1::Dtype ToWire(at::ScalarType dtype) {
  for (const DtypeRow& row : kDtypes) {
    if (row.scalar == dtype) return row.wire;
  }
  return v1::DTYPE_UNSPECIFIED;
}

at::ScalarType FromWire(v1::Dtype dtype) {
  for (const DtypeRow& row : kDtypes) {
    if (row.wire == dtype) return row.scalar;
  }
  return at::ScalarType::Undefined;
}

at::ScalarType DtypeOf(model::HookDtype dtype, at::ScalarType compute) {
  switch (dtype) {
    case model::HookDtype::kFloat32:
      return at::kFloat;
    case model::HookDtype::kInt64:
      return at::kLong;
    case model::HookDtype::kCompute:
      break;
  }
  return compute;
}

std::string DtypeName(at::ScalarType dtype) {
  for (const DtypeRow& row : kDtypes) {
    if (row.scalar == dtype) return row.name;
  }
  return c10::toString(dtype);
}

absl::StatusOr<at::ScalarType> WireDtype(v1::Dtype requested, at::ScalarType own,
                                         const std::string& name, const FieldPath& path) {
  const at::ScalarType wire = FromWire(requested);
  if (wire == at::ScalarType::Undefined || wire == own) return own;
  if (at::isFloatingType(wire) && at::isFloatingType(own)) return wire;
  return InputError(
      v1::ERROR_REASON_VALUE_DTYPE, path,
      absl::StrCat(name, " holds ", DtypeName(own), " and cannot be sent as ", DtypeName(wire),
                   ": leave dtype out",
                   at::isFloatingType(own) ? ", or ask for a floating-point one" : ""),
      {{"hook", name}, {"dtype", DtypeName(wire)}});
}

}  // namespace hookwire::server
