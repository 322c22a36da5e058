// Errors of runs that never start.
#ifndef HOOKWIRE_SERVER_SCHEDULE_QUEUE_ERRORS_H_
#define HOOKWIRE_SERVER_SCHEDULE_QUEUE_ERRORS_H_

#include <cstddef>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace hookwire::server {

absl::Status ShuttingDown();
absl::Status QueueFull(size_t limit);
// `waiting` runs of the client wait, `free` of the queue's `limit` places are free.
absl::Status TooManyOfOneClient(size_t waiting, size_t free, size_t limit);
absl::Status QueueTimeout(absl::Duration waited);
absl::Status CancelledInQueue();
absl::Status DeadlinePassedInQueue();

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_SCHEDULE_QUEUE_ERRORS_H_
