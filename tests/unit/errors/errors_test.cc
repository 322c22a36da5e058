#include "server/errors/errors.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/cord.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/adapter/catalogue.h"

namespace hookwire::server {
namespace {

using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::IsEmpty;
using ::testing::Pair;

TEST(Errors, CarryReasonFieldAndMetadata) {
  const absl::Status status = MakeError(absl::StatusCode::kNotFound, "no such hook",
                                        {v1::ERROR_REASON_HOOK_NOT_FOUND,
                                         "spec.captures[2].hook",
                                         {{"suggestion", "b"}, {"hook", "a"}}});
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(std::string(status.message()), "no such hook");
  const ErrorDetails details = DetailsOf(status);
  EXPECT_EQ(details.reason, v1::ERROR_REASON_HOOK_NOT_FOUND);
  EXPECT_EQ(details.field, "spec.captures[2].hook");
  EXPECT_THAT(details.metadata, ElementsAre(Pair("hook", "a"), Pair("suggestion", "b")));
  EXPECT_TRUE(HasReason(status));
}

TEST(Errors, TakeTheirCodeFromTheReason) {
  EXPECT_EQ(MakeError("…", {v1::ERROR_REASON_RESULT_TOO_LARGE, "", {}}).code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(MakeError("…", {v1::ERROR_REASON_NEVER_FIRES, "", {}}).code(),
            absl::StatusCode::kFailedPrecondition);
}

TEST(Errors, HaveACodeForEveryReasonOfTheProtocol) {
  for (int i = v1::ErrorReason_MIN; i <= v1::ErrorReason_MAX; ++i) {
    if (!v1::ErrorReason_IsValid(i)) continue;
    const auto reason = static_cast<v1::ErrorReason>(i);
    const bool internal =
        reason == v1::ERROR_REASON_UNSPECIFIED || reason == v1::ERROR_REASON_INTERNAL;
    EXPECT_EQ(CodeOf(reason) == absl::StatusCode::kInternal, internal)
        << v1::ErrorReason_Name(reason);
  }
}

TEST(Errors, NameReasonsWithoutTheirPrefix) {
  EXPECT_EQ(ReasonName(v1::ERROR_REASON_HOOK_ABSENT), "HOOK_ABSENT");
}

TEST(Errors, OfACatalogueAreRead) {
  absl::Status status = absl::NotFoundError("blocks.5.attn.hook_k does not exist");
  status.SetPayload(std::string(model::kErrorReasonPayload), absl::Cord("HOOK_ABSENT"));
  status.SetPayload(std::string(model::kErrorHookPayload), absl::Cord("blocks.5.attn.hook_k"));
  status.SetPayload(std::string(model::kErrorCausePayload), absl::Cord("layer 5 reuses layer 2"));
  const ErrorDetails details = DetailsOf(status);
  EXPECT_EQ(details.reason, v1::ERROR_REASON_HOOK_ABSENT);
  EXPECT_THAT(details.metadata, ElementsAre(Pair("cause", "layer 5 reuses layer 2"),
                                            Pair("hook", "blocks.5.attn.hook_k")));
}

TEST(Errors, MadeElsewhereAreInternal) {
  const absl::Status status = absl::UnknownError("?");
  EXPECT_EQ(DetailsOf(status).reason, v1::ERROR_REASON_INTERNAL);
  EXPECT_THAT(DetailsOf(status).metadata, IsEmpty());
  EXPECT_FALSE(HasReason(status));
}

TEST(Errors, CanBeBlamedOnAnotherField) {
  const absl::Status status = MakeError("…", {v1::ERROR_REASON_BAD_FIELD, "a", {}});
  EXPECT_EQ(DetailsOf(WithField(status, "spec.b")).field, "spec.b");
  EXPECT_EQ(DetailsOf(WithField(status, "spec.b")).reason, v1::ERROR_REASON_BAD_FIELD);
  EXPECT_TRUE(WithField(absl::OkStatus(), "spec.b").ok());
}

TEST(Errors, KeepWhatTheyEchoShort) {
  const std::string huge(1 << 20, 'x');
  const absl::Status status =
      MakeError(huge, {v1::ERROR_REASON_HOOK_NOT_FOUND, huge, {{"hook", huge}}});
  EXPECT_EQ(status.message().size(), kMaxErrorMessage);
  const ErrorDetails details = DetailsOf(status);
  EXPECT_EQ(details.field.size(), kMaxErrorMetadata);
  EXPECT_EQ(details.metadata[0].second.size(), kMaxErrorMetadata);
  EXPECT_LT(Quote(huge).size(), size_t{130});
}

TEST(Errors, CutTextBetweenCharacters) {
  EXPECT_EQ(Shorten("abc", 3), "abc");
  EXPECT_EQ(Shorten("abcdef", 5), "ab…");
  // "é" has two bytes; half of one must not stay behind.
  EXPECT_EQ(Shorten("ééé", 5), "é…");
  EXPECT_EQ(Shorten("aééé", 5), "a…");
  EXPECT_THAT(Shorten(std::string(50, 'z'), 10), EndsWith("z…"));
}

}  // namespace
}  // namespace hookwire::server
