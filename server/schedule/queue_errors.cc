#include "server/schedule/queue_errors.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "server/errors/errors.h"

namespace hookwire::server {

absl::Status ShuttingDown() {
  return MakeError(absl::StatusCode::kUnavailable,
                   "the server is shutting down and takes no more runs",
                   {v1::ERROR_REASON_SHUTTING_DOWN, "", {}});
}

absl::Status QueueFull(size_t limit) {
  return MakeError(absl::StrCat("too many runs are waiting: this server lets ", limit, " wait"),
                   {v1::ERROR_REASON_QUEUE_FULL, "", {{"limit", absl::StrCat(limit)}}});
}

absl::Status TooManyOfOneClient(size_t waiting, size_t free, size_t limit) {
  return MakeError(absl::StrCat("too many runs of this client are waiting: ", waiting, ", with ",
                                free, " of the queue's ", limit,
                                " places free; one client may fill half of what the "
                                "others leave"),
                   {v1::ERROR_REASON_QUEUE_FULL,
                    "",
                    {{"limit", absl::StrCat(limit)}, {"waiting", absl::StrCat(waiting)}}});
}

absl::Status QueueTimeout(absl::Duration waited) {
  const std::string seconds = absl::StrCat(absl::ToInt64Seconds(waited));
  return MakeError(absl::StrCat("the run waited for its turn for ", seconds,
                                " s, which is as long as this server lets runs wait"),
                   {v1::ERROR_REASON_QUEUE_TIMEOUT, "", {{"seconds", seconds}}});
}

absl::Status CancelledInQueue() {
  return MakeError("the run was cancelled while it waited for its turn",
                   {v1::ERROR_REASON_CANCELLED, "", {}});
}

absl::Status DeadlinePassedInQueue() {
  return absl::DeadlineExceededError("the deadline passed while the run waited for its turn");
}

}  // namespace hookwire::server
