// Short notations for requests, and for the errors that they are expected to be refused with.
// Header-only, for tests of server/.
#ifndef HOOKWIRE_TESTS_UNIT_SUPPORT_RUN_SPECS_H_
#define HOOKWIRE_TESTS_UNIT_SUPPORT_RUN_SPECS_H_

#include <google/protobuf/text_format.h>

#include <memory>
#include <stdexcept>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "hookwire/v1/run.pb.h"
#include "server/errors/errors.h"
#include "server/plan/planner.h"
#include "tests/unit/support/tiny_model.h"

namespace hookwire::testing {

// A sequence of `n` tokens, for Spec: every third id from `first` on.
inline std::string Tokens(int n, int first = 1) {
  std::string out = "sequences {";
  for (int i = 0; i < n; ++i) out += " token_ids: " + std::to_string((first + 3 * i) % 48);
  return out + " } ";
}

// A RunSpec in protobuf's text format. Where it names no sequences, it gets two: of 5 and of 3
// tokens.
inline v1::RunSpec Spec(const std::string& text) {
  v1::RunSpec spec;
  if (!google::protobuf::TextFormat::ParseFromString(text, &spec)) {
    throw std::runtime_error("not a RunSpec: " + text);
  }
  if (spec.sequences().empty()) {
    for (const uint32_t id : {3, 4, 5, 6, 7}) {
      if (spec.sequences().empty()) spec.add_sequences();
      spec.mutable_sequences(0)->add_token_ids(id);
    }
    spec.add_sequences();
    for (const uint32_t id : {8, 9, 10}) spec.mutable_sequences(1)->add_token_ids(id);
  }
  return spec;
}

using PlanOr = absl::StatusOr<std::shared_ptr<const server::RunPlan>>;

inline PlanOr TryPlan(const v1::RunSpec& spec, const model::TextModel& model = TinyModel(),
                      const server::Limits& limits = {}) {
  return server::Planner(model, limits).Plan(spec);
}

// The plan of a valid request.
inline std::shared_ptr<const server::RunPlan> MustPlan(
    const v1::RunSpec& spec, const model::TextModel& model = TinyModel()) {
  auto plan = TryPlan(spec, model);
  if (!plan.ok()) throw std::runtime_error(plan.status().ToString());
  return *std::move(plan);
}

// The error that a request is expected to be refused with.
struct Refusal {
  v1::ErrorReason reason;
  std::string field;
  // A part of the message.
  std::string message;
};

inline void ExpectRefused(const absl::Status& status, const Refusal& expected) {
  ASSERT_FALSE(status.ok()) << "expected " << v1::ErrorReason_Name(expected.reason);
  const server::ErrorDetails details = server::DetailsOf(status);
  EXPECT_EQ(v1::ErrorReason_Name(details.reason), v1::ErrorReason_Name(expected.reason))
      << status.ToString();
  EXPECT_EQ(status.code(), server::CodeOf(expected.reason));
  EXPECT_EQ(details.field, expected.field);
  EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr(expected.message));
}

inline void ExpectRefused(const v1::RunSpec& spec, const Refusal& expected,
                          const model::TextModel& model = TinyModel(),
                          const server::Limits& limits = {}) {
  ExpectRefused(TryPlan(spec, model, limits).status(), expected);
}

// The metadata of an error under `key`; empty where there is none.
inline std::string MetadataOf(const absl::Status& status, const std::string& key) {
  for (const auto& [name, value] : server::DetailsOf(status).metadata) {
    if (name == key) return value;
  }
  return "";
}

}  // namespace hookwire::testing

#endif  // HOOKWIRE_TESTS_UNIT_SUPPORT_RUN_SPECS_H_
