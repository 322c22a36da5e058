#include "server/rpc/request_pace.h"

#include <gtest/gtest.h>

namespace hookwire::server {
namespace {

constexpr absl::Time kStart = absl::UnixEpoch();

TEST(RequestPace, ASilentClientIsLateSinceItsLastBytes) {
  RequestPace pace(kStart);
  EXPECT_EQ(pace.waiting_since(), kStart);
  pace.Received(kStart + absl::Seconds(5), 100 << 20);
  EXPECT_EQ(pace.waiting_since(), kStart + absl::Seconds(5));
}

TEST(RequestPace, AByteNowAndThenIsLateSinceTheBeginning) {
  RequestPace pace(kStart);
  for (int second = 1; second <= 60; ++second) pace.Received(kStart + absl::Seconds(second), 1);
  EXPECT_LT(pace.waiting_since(), kStart + absl::Milliseconds(1));
}

TEST(RequestPace, AClientThatSendsAtTheLeastRateIsNeverLate) {
  RequestPace pace(kStart);
  for (int second = 1; second <= 3600; ++second) {
    pace.Received(kStart + absl::Seconds(second), RequestPace::kLeastBytesPerSecond);
  }
  EXPECT_EQ(pace.waiting_since(), kStart + absl::Hours(1));
}

}  // namespace
}  // namespace hookwire::server
