// Names of the variants in the names of parameterised tests.
#ifndef HOOKWIRE_TESTS_UNIT_MODEL_VARIANT_NAMES_H_
#define HOOKWIRE_TESTS_UNIT_MODEL_VARIANT_NAMES_H_

#include <string>

#include "gtest/gtest.h"
#include "tests/unit/support/tiny_checkpoint.h"

namespace hookwire::testing {

inline auto AllVariants() {
  return ::testing::Values(TinyVariant::kEType, TinyVariant::kDense, TinyVariant::kMoe,
                           TinyVariant::kUnified);
}

inline std::string TestName(TinyVariant variant) {
  constexpr const char* kNames[] = {"EType", "Dense", "Moe", "Unified"};
  return kNames[static_cast<int>(variant)];
}

inline std::string VariantTestName(const ::testing::TestParamInfo<TinyVariant>& info) {
  return TestName(info.param);
}

}  // namespace hookwire::testing

#endif  // HOOKWIRE_TESTS_UNIT_MODEL_VARIANT_NAMES_H_
