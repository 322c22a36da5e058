// Says which weights of a checkpoint the server does not read: in the log, and to clients.
#ifndef HOOKWIRE_SERVER_UNREAD_WEIGHTS_H_
#define HOOKWIRE_SERVER_UNREAD_WEIGHTS_H_

#include <spdlog/logger.h>

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "hookwire/v1/model.pb.h"
#include "model/checkpoint/checkpoint.h"
#include "model/checkpoint/unread_files.h"
#include "os/system.h"

namespace hookwire::server {

// Finds the weight files that are not read, and logs one warning with their number and first names,
// and those of `tensors` (TextModel::unread_tensors). FailedPrecondition with the same text if
// there are any and `strict` is true. If the directory cannot be listed, that is the warning, or
// the error, and no file is returned.
absl::StatusOr<std::vector<model::UnreadFile>> ReportUnread(const model::Checkpoint& checkpoint,
                                                            absl::Span<const std::string> tensors,
                                                            bool strict, spdlog::logger& logger,
                                                            os::System& system = os::RealSystem());

// Sets unread_files and n_unread_files.
void DescribeUnreadFiles(absl::Span<const model::UnreadFile> files, v1::Model& out);

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_UNREAD_WEIGHTS_H_
