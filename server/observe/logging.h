// Logs: one line for each event, to stderr, as text or as JSON.
//
// An event is a message and fields. As text: `<time> <level> <message> key=value …`; as JSON: an
// object with "time", "level", "message" and the fields. Line breaks and control characters are
// escaped in both, so that text from a client cannot forge a line. Writing never blocks: where
// stderr is a full pipe, lines are dropped, and their number is logged later.
#ifndef HOOKWIRE_SERVER_OBSERVE_LOGGING_H_
#define HOOKWIRE_SERVER_OBSERVE_LOGGING_H_

#include <spdlog/logger.h>

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string_view>

namespace hookwire::server {

enum class LogFormat { kText, kJson };

// A logger that writes to the file descriptor `fd`, which it does not own. Thread-safe.
std::shared_ptr<spdlog::logger> MakeLogger(LogFormat format, spdlog::level::level_enum level,
                                           int fd = 2);

// Logs a message with fields, an object of numbers, strings and booleans.
void LogEvent(spdlog::logger& logger, spdlog::level::level_enum level, std::string_view message,
              const nlohmann::ordered_json& fields);

// Sends the messages of gRPC's core, protobuf and libtorch to the logger for as long as it exists;
// otherwise they go to stderr in other formats. For the whole process: call it once, from main.
void CaptureLibraryLogs(const std::shared_ptr<spdlog::logger>& logger);

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_OBSERVE_LOGGING_H_
