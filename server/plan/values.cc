#include "server/plan/values.h"

#include <ATen/ops/from_blob.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/isneginf.h>
#include <ATen/ops/nonzero.h>
#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>

#include <cmath>
#include <cstring>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/errors/status_macros.h"
#include "server/plan/dtypes.h"
#include "server/plan/hook_slicer.h"

namespace hookwire::server {
namespace {

constexpr int kMaxAxes = 4;

template <typename Sizes>
std::string ShapeName(const Sizes& shape) {
  return absl::StrCat("[", absl::StrJoin(shape, ", "), "]");
}

absl::Status ShapeError(const FieldPath& path, const std::string& message,
                        const std::string& expected, const std::string& got,
                        const std::string& hook = "") {
  Metadata metadata = {{"expected", expected}, {"got", got}};
  if (!hook.empty()) metadata.emplace_back("hook", hook);
  return InputError(v1::ERROR_REASON_VALUE_SHAPE, path, message, std::move(metadata));
}

absl::StatusOr<at::Tensor> ParseTensor(const v1::TensorValue& value, const FieldPath& path) {
  const at::ScalarType dtype = FromWire(value.dtype());
  if (dtype == at::ScalarType::Undefined || !at::isFloatingType(dtype)) {
    return InputError(v1::ERROR_REASON_VALUE_DTYPE, FieldPath(path, "dtype"),
                      absl::StrCat("a value cannot be ", v1::Dtype_Name(value.dtype()),
                                   ": send float32, bfloat16, float16 or float64"),
                      {{"dtype", v1::Dtype_Name(value.dtype())}});
  }
  const std::string got = ShapeName(value.shape());
  if (value.shape_size() > kMaxAxes) {
    return ShapeError(path,
                      absl::StrCat("the value has ", value.shape_size(), " axes, ",
                                   Shorten(got, 80), ": no hook point has more than 3"),
                      "at most 4 axes", absl::StrCat(value.shape_size(), " axes"));
  }
  const uint64_t element = c10::elementSize(dtype);
  uint64_t bytes = element;
  bool overflow = false;
  bool empty = false;
  std::vector<int64_t> shape;
  for (const uint64_t size : value.shape()) {
    empty |= size == 0;
    overflow |= __builtin_mul_overflow(bytes, size, &bytes);
    shape.push_back(static_cast<int64_t>(size));
  }
  if (empty) {
    return ShapeError(FieldPath(path, "shape"),
                      absl::StrCat("the value has no elements: its shape is ", got),
                      "at least one element", got);
  }
  if (overflow || bytes != value.data().size()) {
    const std::string expected = overflow ? "more than 2^64" : absl::StrCat(bytes);
    return ShapeError(FieldPath(path, "data"),
                      absl::StrCat("a ", DtypeName(dtype), " value of shape ", got, " takes ",
                                   expected, " bytes, and ", value.data().size(), " came"),
                      absl::StrCat(expected, " bytes"),
                      absl::StrCat(value.data().size(), " bytes"));
  }
  // Not a copy, since nothing writes to it: For copies. So a value exists at most twice.
  return at::from_blob(const_cast<char*>(value.data().data()), shape, dtype);
}

bool TakesNegativeInfinity(const model::HookPoint& point) {
  return point.site == model::Site::kAttnScores;
}

// The number rounded to `dtype`.
double RoundTo(double number, at::ScalarType dtype) {
  switch (dtype) {
    case at::kFloat:
      return static_cast<float>(number);
    case at::kBFloat16:
      return static_cast<float>(c10::BFloat16(static_cast<float>(number)));
    case at::kHalf:
      return static_cast<float>(c10::Half(static_cast<float>(number)));
    default:
      return number;
  }
}

// "[0, 3]", the place of element `flat` in a tensor of this shape.
std::string PlaceName(int64_t flat, at::IntArrayRef shape) {
  std::vector<int64_t> place(shape.size());
  for (size_t axis = shape.size(); axis-- > 0;) {
    place[axis] = flat % shape[axis];
    flat /= shape[axis];
  }
  return ShapeName(place);
}

// `place` is empty for a scalar.
absl::Status NotFinite(double number, const std::string& place, at::ScalarType dtype,
                       const model::HookPoint& point, const FieldPath& path) {
  const std::string shown = std::isnan(number) ? "NaN" : absl::StrCat(number);
  const std::string subject = place.empty() ? "the value" : absl::StrCat("the value at ", place);
  const std::string message =
      std::isfinite(number)
          ? absl::StrCat(subject, " is ", shown, ", which is infinite in ", DtypeName(dtype),
                         ", the dtype of ", point.name, ": send smaller numbers")
          : absl::StrCat(subject, " is ", shown, ": set allow_non_finite if ", point.name,
                         " is to take it");
  return InputError(v1::ERROR_REASON_VALUE_NOT_FINITE, path, message,
                    {{"hook", point.name}, {"value", shown}});
}

bool Broadcasts(const std::vector<int64_t>& from, const std::vector<int64_t>& to) {
  if (from.size() > to.size()) return false;
  for (size_t i = 1; i <= from.size(); ++i) {
    const int64_t size = from[from.size() - i];
    if (size != 1 && size != to[to.size() - i]) return false;
  }
  return true;
}

int64_t Product(const std::vector<int64_t>& shape) {
  int64_t product = 1;
  for (const int64_t size : shape) product *= size;
  return product;
}

// A suggestion of what was probably meant; empty if there is none.
std::string Hint(const std::vector<int64_t>& got, const std::vector<int64_t>& expected,
                 const std::vector<int64_t>& whole) {
  if (got.size() > 1 && got[0] == 1 &&
      Broadcasts(std::vector<int64_t>(got.begin() + 1, got.end()), expected)) {
    return "; leave out the first axis: values have no batch axis";
  }
  if (got == whole) {
    return "; it has the shape of the whole tensor, but only a part of it is selected";
  }
  if (got.size() == 1 && expected.size() > 1 && got[0] == expected[0]) {
    std::vector<int64_t> column(expected.size(), 1);
    column[0] = got[0];
    return absl::StrCat("; for one number for each index of the first axis, send ",
                        ShapeName(column));
  }
  if (got.size() == 2 && expected.size() == 2 && got[0] == expected[1] && got[1] == expected[0]) {
    return "; it seems to be transposed";
  }
  if (Product(got) == Product(expected)) {
    return absl::StrCat("; it has as many elements: reshape it to ", ShapeName(expected));
  }
  return "";
}

}  // namespace

absl::StatusOr<OpValue> OpValue::Parse(const v1::Value& value, bool allow_non_finite,
                                       const FieldPath& path) {
  OpValue parsed(path);
  parsed.allow_non_finite_ = allow_non_finite;
  if (value.kind_case() == v1::Value::kScalar) {
    parsed.scalar_ = value.scalar();
    return parsed;
  }
  HOOKWIRE_ASSIGN_OR_RETURN(parsed.tensor_, ParseTensor(value.tensor(), FieldPath(path, "tensor")));
  return parsed;
}

absl::StatusOr<at::Tensor> OpValue::For(const model::HookPoint& point, at::ScalarType dtype) {
  if (!at::isFloatingType(dtype)) {
    return InputError(v1::ERROR_REASON_VALUE_DTYPE, *path_,
                      absl::StrCat(point.name, " holds ", DtypeName(dtype),
                                   ", which takes no floating-point value"),
                      {{"hook", point.name}, {"dtype", DtypeName(dtype)}});
  }
  const bool negative_infinity = TakesNegativeInfinity(point);
  if (scalar_.has_value()) {
    const bool good = std::isfinite(RoundTo(*scalar_, dtype)) || allow_non_finite_ ||
                      (negative_infinity && *scalar_ == -INFINITY);
    if (!good) return NotFinite(*scalar_, "", dtype, point, *path_);
    return at::Tensor();
  }
  for (const Converted& known : converted_) {
    if (known.dtype == dtype && known.negative_infinity == negative_infinity) return known.tensor;
  }
  const at::Tensor converted = tensor_.to(dtype, /*non_blocking=*/false, /*copy=*/true);
  if (!allow_non_finite_) {
    at::Tensor good = at::isfinite(converted);
    // A finite number that becomes −inf in `dtype` was not meant as −inf.
    if (negative_infinity) good = good.logical_or(at::isneginf(tensor_));
    if (!good.all().item<bool>()) {
      const int64_t first = at::nonzero(good.logical_not().reshape({-1}))[0].item<int64_t>();
      return NotFinite(tensor_.reshape({-1})[first].item<double>(),
                       PlaceName(first, tensor_.sizes()), dtype, point, *path_);
    }
  }
  converted_.push_back({dtype, negative_infinity, converted});
  return converted;
}

absl::Status OpValue::CheckShape(const model::HookPoint& point, const Slice& slice,
                                 int64_t length) const {
  if (scalar_.has_value()) return absl::OkStatus();
  const std::vector<int64_t> got = tensor_.sizes().vec();
  const Shape shape = ShapeOf(slice);
  const std::vector<int64_t> expected(shape.begin(), shape.end());
  if (Broadcasts(got, expected)) return absl::OkStatus();
  std::vector<int64_t> whole;
  for (const model::Axis& axis : point.axes) {
    const bool counts_tokens =
        axis.kind == model::AxisKind::kPosition || axis.kind == model::AxisKind::kKeyPosition;
    whole.push_back(counts_tokens ? length : axis.size);
  }
  return ShapeError(
      *path_,
      absl::StrCat("a value of shape ", ShapeName(got), " does not fit the selected slice of ",
                   point.name, " in sequence ", slice.sequence, ", which is ", ShapeName(expected),
                   " (NumPy's broadcasting)", Hint(got, expected, whole)),
      ShapeName(expected), ShapeName(got), point.name);
}

}  // namespace hookwire::server
