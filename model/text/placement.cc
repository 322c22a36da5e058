#include "model/text/placement.h"

#include <algorithm>
#include <cstddef>
#include <numeric>

namespace hookwire::model {

Placement PlacePieces(absl::Span<const uint64_t> bytes, absl::Span<const DeviceRoom> devices) {
  std::vector<double> room;
  for (const DeviceRoom& each : devices) room.push_back(static_cast<double>(each.bytes));
  if (std::all_of(room.begin(), room.end(), [](double each) { return each == 0; })) {
    std::fill(room.begin(), room.end(), 1.0);
  }
  const double all_room = std::accumulate(room.begin(), room.end(), 0.0);
  const double all_bytes = std::accumulate(bytes.begin(), bytes.end(), 0.0);

  // A piece goes to the device in whose share its middle byte falls.
  std::vector<at::Device> chosen;
  size_t device = 0;
  double room_before = 0;
  double bytes_before = 0;
  for (const uint64_t size : bytes) {
    const double middle = bytes_before + static_cast<double>(size) / 2;
    while (device + 1 < devices.size() &&
           middle * all_room >= (room_before + room[device]) * all_bytes) {
      room_before += room[device++];
    }
    chosen.push_back(devices[device].device);
    bytes_before += static_cast<double>(size);
  }
  return {.before = chosen.front(),
          .layers = {chosen.begin() + 1, chosen.end() - 1},
          .after = chosen.back()};
}

}  // namespace hookwire::model
