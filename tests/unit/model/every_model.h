// Tests over every variant and both numerics.
#ifndef HOOKWIRE_TESTS_UNIT_MODEL_EVERY_MODEL_H_
#define HOOKWIRE_TESTS_UNIT_MODEL_EVERY_MODEL_H_

#include <ATen/core/grad_mode.h>

#include <string>
#include <tuple>

#include "gtest/gtest.h"
#include "model/numerics.h"
#include "tests/unit/model/variant_names.h"
#include "tests/unit/support/tiny_checkpoint.h"
#include "tests/unit/support/tiny_model.h"

namespace hookwire::testing {

class EveryModel : public ::testing::TestWithParam<std::tuple<TinyVariant, model::Numerics>> {
 protected:
  TinyVariant variant() const { return std::get<0>(GetParam()); }
  model::Numerics numerics() const { return std::get<1>(GetParam()); }
  bool reference() const { return numerics() == model::Numerics::kReference; }
  const model::TextModel& Model(const std::string& dtype = "float32") const {
    return TinyModel(variant(), dtype);
  }
  const model::Catalogue& catalogue() const { return Model().catalogue(); }

 private:
  // As the server runs passes.
  const at::NoGradGuard no_gradients_;
};

inline auto AllModels() {
  return ::testing::Combine(::testing::Values(TinyVariant::kEType, TinyVariant::kDense,
                                              TinyVariant::kMoe, TinyVariant::kUnified),
                            ::testing::Values(model::Numerics::kFast, model::Numerics::kReference));
}

inline std::string ModelName(
    const ::testing::TestParamInfo<std::tuple<TinyVariant, model::Numerics>>& info) {
  return TestName(std::get<0>(info.param)) +
         (std::get<1>(info.param) == model::Numerics::kFast ? "Fast" : "Reference");
}

}  // namespace hookwire::testing

#endif  // HOOKWIRE_TESTS_UNIT_MODEL_EVERY_MODEL_H_
