#include "server/access/call_limit.h"

#include <gtest/gtest.h>

#include <optional>
#include <utility>

#include "server/errors/errors.h"

namespace hookwire::server {
namespace {

TEST(CallLimit, AClientHasSoManyCallsAndAnotherItsOwn) {
  CallLimit limit(2);
  const Principal one{"process:1", ""};
  const Principal other{"process:2", ""};
  auto first = limit.Admit(one);
  ASSERT_TRUE(first.ok());
  std::optional<CallLimit::Call> second = *limit.Admit(one);
  const absl::Status refused = limit.Admit(one).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(DetailsOf(refused).reason, v1::ERROR_REASON_TOO_MANY_CALLS);
  EXPECT_TRUE(limit.Admit(other).ok());
  EXPECT_EQ(limit.open(), 2u);

  second.reset();
  EXPECT_EQ(limit.open(), 1u);
  EXPECT_TRUE(limit.Admit(one).ok());
}

TEST(CallLimit, ACallThatIsMovedIsCountedOnce) {
  CallLimit limit(1);
  CallLimit::Call held;
  {
    auto call = limit.Admit({"process:1", ""});
    ASSERT_TRUE(call.ok());
    held = *std::move(call);
  }
  EXPECT_EQ(limit.open(), 1u);
  held = CallLimit::Call();
  EXPECT_EQ(limit.open(), 0u);
}

}  // namespace
}  // namespace hookwire::server
