#include "server/rpc/status.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <string>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "server/errors/errors.h"

namespace hookwire::server {
namespace {

google::rpc::Status DetailsIn(const grpc::Status& status) {
  google::rpc::Status details;
  EXPECT_TRUE(details.ParseFromString(status.error_details()));
  EXPECT_EQ(details.code(), static_cast<int>(status.error_code()));
  EXPECT_EQ(details.message(), status.error_message());
  return details;
}

template <typename Detail>
std::optional<Detail> Find(const grpc::Status& status) {
  const google::rpc::Status details = DetailsIn(status);
  Detail detail;
  for (const auto& any : details.details()) {
    if (any.UnpackTo(&detail)) return detail;
  }
  return std::nullopt;
}

TEST(Status, OkIsOk) { EXPECT_TRUE(ToGrpcStatus(absl::OkStatus()).ok()); }

TEST(Status, CarriesReasonFieldHookAndSentence) {
  const grpc::Status status = ToGrpcStatus(MakeError(
      absl::StatusCode::kNotFound, "there is no blocks.0.hook_ou; did you mean blocks.0.hook_out?",
      {v1::ERROR_REASON_HOOK_NOT_FOUND,
       "spec.captures[2].hook",
       {{"hook", "blocks.0.hook_ou"}, {"suggestion", "blocks.0.hook_out"}}}));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(status.error_message(),
            "there is no blocks.0.hook_ou; did you mean blocks.0.hook_out?");

  const auto info = Find<google::rpc::ErrorInfo>(status);
  ASSERT_TRUE(info.has_value());
  EXPECT_EQ(info->reason(), "HOOK_NOT_FOUND");
  EXPECT_EQ(info->domain(), "hookwire");
  EXPECT_EQ(info->metadata().at("hook"), "blocks.0.hook_ou");
  EXPECT_EQ(info->metadata().at("suggestion"), "blocks.0.hook_out");

  const auto bad = Find<google::rpc::BadRequest>(status);
  ASSERT_TRUE(bad.has_value());
  ASSERT_EQ(bad->field_violations_size(), 1);
  EXPECT_EQ(bad->field_violations(0).field(), "spec.captures[2].hook");

  const auto resource = Find<google::rpc::ResourceInfo>(status);
  ASSERT_TRUE(resource.has_value());
  EXPECT_EQ(resource->resource_name(), "blocks.0.hook_ou");
  EXPECT_FALSE(Find<google::rpc::RetryInfo>(status).has_value());
}

TEST(Status, SaysWhenToTryAgain) {
  const grpc::Status full = ToGrpcStatus(MakeError(absl::StatusCode::kResourceExhausted, "full",
                                                   {v1::ERROR_REASON_QUEUE_FULL, "", {}}));
  EXPECT_GT(Find<google::rpc::RetryInfo>(full)->retry_delay().seconds(), 0);
  const grpc::Status ending = ToGrpcStatus(MakeError(absl::StatusCode::kUnavailable, "ending",
                                                     {v1::ERROR_REASON_SHUTTING_DOWN, "", {}}));
  EXPECT_TRUE(Find<google::rpc::RetryInfo>(ending).has_value());
  const grpc::Status large = ToGrpcStatus(MakeError(absl::StatusCode::kResourceExhausted, "large",
                                                    {v1::ERROR_REASON_RESULT_TOO_LARGE, "", {}}));
  EXPECT_FALSE(Find<google::rpc::RetryInfo>(large).has_value()) << "it would be too large again";
}

TEST(Status, WithoutAReasonItIsInternal) {
  const grpc::Status status = ToGrpcStatus(absl::InternalError("broke"));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INTERNAL);
  EXPECT_EQ(Find<google::rpc::ErrorInfo>(status)->reason(), "INTERNAL");
  EXPECT_FALSE(Find<google::rpc::BadRequest>(status).has_value());
}

TEST(Status, CancelledAndTooLateGiveNoReason) {
  for (const absl::Status& status :
       {absl::CancelledError("gone"), absl::DeadlineExceededError("late")}) {
    EXPECT_FALSE(Find<google::rpc::ErrorInfo>(ToGrpcStatus(status)).has_value());
  }
}

// As HTTP/2 headers carry them.
size_t HeaderBytes(const grpc::Status& status) {
  size_t bytes = (status.error_details().size() + 2) / 3 * 4;
  for (const unsigned char c : status.error_message()) bytes += c < ' ' || c > '~' ? 3 : 1;
  return bytes;
}

TEST(Status, NeverOutgrowsTheHeaders) {
  // Plain and of characters that take nine bytes in a header.
  for (const std::string& unit : {std::string("x"), std::string("\xE2\x82\xAC")}) {
    std::string text;
    while (text.size() < 100'000) text += unit;
    absl::Status raw(absl::StatusCode::kInvalidArgument, text);
    std::vector<std::pair<std::string, std::string>> metadata;
    metadata.reserve(52);
    for (int i = 0; i < 50; ++i) metadata.emplace_back("key" + std::to_string(i), text);
    metadata.emplace_back("hook", text);
    metadata.emplace_back("cause", text);
    for (const absl::Status& status : {MakeError(absl::StatusCode::kInvalidArgument, text,
                                                 {v1::ERROR_REASON_BAD_FIELD, text, metadata}),
                                       raw}) {
      const grpc::Status sent = ToGrpcStatus(status);
      EXPECT_LE(HeaderBytes(sent), kMaxStatusBytes);
      EXPECT_GT(sent.error_message().size(), 100u);
      EXPECT_TRUE(Find<google::rpc::ErrorInfo>(sent).has_value());
    }
  }
}

TEST(Status, BytesThatAreNoTextDoNoHarm) {
  const grpc::Status status = ToGrpcStatus(absl::InvalidArgumentError("a\xff\xfe z"));
  EXPECT_EQ(status.error_message(), "a\xEF\xBF\xBD\xEF\xBF\xBD z");
  EXPECT_EQ(DetailsIn(status).message(), status.error_message());
}

}  // namespace
}  // namespace hookwire::server
