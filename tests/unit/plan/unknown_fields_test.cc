#include "server/plan/unknown_fields.h"

#include <google/protobuf/unknown_field_set.h>

#include <string>

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "hookwire/v1/service.pb.h"
#include "server/errors/errors.h"

namespace hookwire::server {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

v1::RunRequest GoodRequest() {
  v1::RunRequest request;
  v1::RunSpec* spec = request.mutable_spec();
  spec->add_sequences()->add_token_ids(1);
  spec->add_captures()->set_hook("hook_embed");
  v1::Capture* capture = spec->add_captures();
  capture->set_hook("blocks.0.hook_out");
  capture->mutable_positions()->mutable_indices()->add_values(0);
  spec->add_interventions()->mutable_set()->mutable_value()->set_scalar(1);
  return request;
}

// Puts field 99 into `message`, as a newer client's bytes would.
void AddUnknown(google::protobuf::Message* message) {
  message->GetReflection()->MutableUnknownFields(message)->AddVarint(99, 7);
}

std::string FieldOf(const v1::RunRequest& request) {
  // Through the wire, as a request comes.
  v1::RunRequest parsed;
  EXPECT_TRUE(parsed.ParseFromString(request.SerializeAsString()));
  const absl::Status status = RejectUnknownFields(parsed);
  if (status.ok()) return "none";
  const ErrorDetails details = DetailsOf(status);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(details.reason, v1::ERROR_REASON_UNKNOWN_FIELD);
  EXPECT_THAT(details.metadata, ElementsAre(Pair("field", details.field)));
  EXPECT_THAT(std::string(status.message()), HasSubstr("field 99 of hookwire.v1."));
  return details.field;
}

TEST(UnknownFields, AreAbsentFromAGoodRequest) { EXPECT_EQ(FieldOf(GoodRequest()), "none"); }

TEST(UnknownFields, AreFoundAtTheTop) {
  v1::RunRequest request = GoodRequest();
  AddUnknown(&request);
  EXPECT_EQ(FieldOf(request), "99");
}

TEST(UnknownFields, AreFoundInRepeatedMessages) {
  v1::RunRequest request = GoodRequest();
  AddUnknown(request.mutable_spec()->mutable_captures(1));
  EXPECT_EQ(FieldOf(request), "spec.captures[1].99");
}

TEST(UnknownFields, AreFoundDeepInside) {
  v1::RunRequest request = GoodRequest();
  AddUnknown(request.mutable_spec()->mutable_captures(1)->mutable_positions()->mutable_indices());
  EXPECT_EQ(FieldOf(request), "spec.captures[1].positions.indices.99");
}

TEST(UnknownFields, AreFoundInsideAOneof) {
  v1::RunRequest request = GoodRequest();
  AddUnknown(request.mutable_spec()->mutable_interventions(0)->mutable_set()->mutable_value());
  EXPECT_EQ(FieldOf(request), "spec.interventions[0].set.value.99");
}

}  // namespace
}  // namespace hookwire::server
