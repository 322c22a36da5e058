#include "model/text/placement.h"

#include <cstdint>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace hookwire::model {
namespace {

using ::testing::ElementsAre;

std::vector<DeviceRoom> Rooms(const std::vector<uint64_t>& bytes) {
  std::vector<DeviceRoom> rooms;
  for (const uint64_t each : bytes) {
    const auto index = static_cast<c10::DeviceIndex>(rooms.size());
    rooms.push_back({at::Device(at::kCUDA, index), each});
  }
  return rooms;
}

// Numbers of the devices, of all pieces.
std::vector<int> Place(const std::vector<uint64_t>& pieces, const std::vector<uint64_t>& rooms) {
  const Placement placement = PlacePieces(pieces, Rooms(rooms));
  std::vector<int> on = {placement.before.index()};
  for (const at::Device device : placement.layers) on.push_back(device.index());
  on.push_back(placement.after.index());
  return on;
}

TEST(PlacePieces, OneDeviceHasThemAll) {
  EXPECT_THAT(Place({5, 1, 1, 5}, {100}), ElementsAre(0, 0, 0, 0));
  EXPECT_THAT(Place({5, 1, 1, 5}, {0}), ElementsAre(0, 0, 0, 0));
}

TEST(PlacePieces, SharesThemByRoom) {
  EXPECT_THAT(Place({0, 1, 1, 1, 1, 0}, {50, 50}), ElementsAre(0, 0, 0, 1, 1, 1));
  EXPECT_THAT(Place({0, 1, 1, 1, 1, 0}, {25, 75}), ElementsAre(0, 0, 1, 1, 1, 1));
  EXPECT_THAT(Place({0, 1, 1, 1, 1, 0}, {75, 25}), ElementsAre(0, 0, 0, 0, 1, 1));
  // Embeddings as large as two layers.
  EXPECT_THAT(Place({2, 1, 1, 1, 1, 2}, {10, 10}), ElementsAre(0, 0, 0, 1, 1, 1));
}

TEST(PlacePieces, SharesThemEquallyWhereNoRoomIsKnown) {
  EXPECT_THAT(Place({0, 1, 1, 1, 0}, {0, 0, 0}), ElementsAre(0, 0, 1, 2, 2));
}

TEST(PlacePieces, PassesOverADeviceThatIsFull) {
  EXPECT_THAT(Place({1, 1, 1, 1}, {10, 0, 10}), ElementsAre(0, 0, 2, 2));
}

TEST(PlacePieces, MoreDevicesThanPieces) {
  EXPECT_THAT(Place({1, 1, 1}, {1, 1, 1, 1, 1, 1}), ElementsAre(1, 3, 5));
}

}  // namespace
}  // namespace hookwire::model
