#include "server/observe/logging.h"

#include <c10/util/Exception.h>
#include <google/protobuf/stubs/logging.h>
#include <grpc/support/log.h>
#include <poll.h>
#include <spdlog/formatter.h>
#include <spdlog/sinks/base_sink.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"

namespace hookwire::server {
namespace {

using Json = nlohmann::ordered_json;

// Separates an event's message from its fields in the text that spdlog carries.
constexpr char kFieldsFollow = '\x1e';

std::string Dump(const Json& value) {
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

// `text` with line breaks and control characters escaped as in JSON, without the quotation marks.
std::string Escape(std::string_view text) {
  const std::string quoted = Dump(std::string(text));
  std::string plain;
  plain.reserve(quoted.size());
  for (size_t i = 1; i + 1 < quoted.size(); ++i) {
    // A quotation mark is not escaped: there are none around the text.
    if (quoted[i] == '\\' && quoted[i + 1] == '"') continue;
    if (quoted[i] == '\\' && quoted[i + 1] == '\\') plain += quoted[i++];
    plain += quoted[i];
  }
  return plain;
}

// A value of a text line: in quotation marks where it is not a single word.
std::string Word(const Json& value) {
  if (!value.is_string()) return Dump(value);
  const std::string& text = value.get_ref<const std::string&>();
  const bool plain = !text.empty() && std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return c > ' ' && c != '"' && c != '=' && c != '\\' && c != 0x7f;
  });
  return plain ? text : Dump(value);
}

class LineFormatter final : public spdlog::formatter {
 public:
  explicit LineFormatter(LogFormat format) : format_(format) {}

  std::unique_ptr<spdlog::formatter> clone() const override {
    return std::make_unique<LineFormatter>(format_);
  }

  void format(const spdlog::details::log_msg& record, spdlog::memory_buf_t& out) override {
    const std::string_view payload(record.payload.data(), record.payload.size());
    const size_t split = payload.find(kFieldsFollow);
    const std::string_view message = payload.substr(0, split);
    Json fields = Json::object();
    if (split != std::string_view::npos) {
      fields = Json::parse(payload.substr(split + 1), nullptr, /*allow_exceptions=*/false);
      if (!fields.is_object()) fields = Json::object();
    }
    const std::string time = absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", absl::FromChrono(record.time),
                                              absl::UTCTimeZone());
    const auto level_view = spdlog::level::to_string_view(record.level);
    const std::string level(level_view.data(), level_view.size());

    std::string line;
    if (format_ == LogFormat::kJson) {
      Json object = {{"time", time}, {"level", level}, {"message", std::string(message)}};
      // emplace: a field of one of these names does not replace them.
      for (auto& [key, value] : fields.items()) object.emplace(key, std::move(value));
      line = Dump(object);
    } else {
      line = absl::StrCat(time, " ", level, " ", Escape(message));
      for (const auto& [key, value] : fields.items())
        absl::StrAppend(&line, " ", key, "=", Word(value));
    }
    line += '\n';
    out.append(line.data(), line.data() + line.size());
  }

 private:
  const LogFormat format_;
};

// Writes a line if the descriptor takes it without blocking, else drops it.
class NonBlockingSink final : public spdlog::sinks::base_sink<std::mutex> {
 public:
  explicit NonBlockingSink(int fd) : fd_(fd) {}

 protected:
  void sink_it_(const spdlog::details::log_msg& record) override {
    spdlog::memory_buf_t line;
    formatter_->format(record, line);
    if (dropped_ > 0 && Write(absl::StrCat("(", dropped_, " log lines were dropped)\n")))
      dropped_ = 0;
    if (!Write(std::string_view(line.data(), line.size()))) ++dropped_;
  }

  void flush_() override {}

 private:
  bool Write(std::string_view line) const {
    // A pipe that poll calls ready takes PIPE_BUF bytes without blocking.
    while (!line.empty()) {
      pollfd ready = {fd_, POLLOUT, 0};
      if (poll(&ready, 1, /*timeout=*/0) != 1 || (ready.revents & POLLOUT) == 0) return false;
      const ssize_t written = write(fd_, line.data(), std::min<size_t>(line.size(), PIPE_BUF));
      if (written <= 0) return false;
      line.remove_prefix(static_cast<size_t>(written));
    }
    return true;
  }

  const int fd_;
  uint64_t dropped_ = 0;
};

// Global, since the libraries call plain functions without a context.
std::weak_ptr<spdlog::logger>& LibraryLogger() {
  static auto* logger = new std::weak_ptr<spdlog::logger>();
  return *logger;
}

void LogOfGrpc(gpr_log_func_args* args) {
  const std::shared_ptr<spdlog::logger> logger = LibraryLogger().lock();
  if (logger == nullptr) return;
  // Errors of a call are reported as its status; the core's lines are for debugging.
  const auto level =
      args->severity == GPR_LOG_SEVERITY_ERROR ? spdlog::level::debug : spdlog::level::trace;
  if (logger->should_log(level)) LogEvent(*logger, level, args->message, {{"from", "grpc"}});
}

void LogOfProtobuf(google::protobuf::LogLevel, const char*, int, const std::string& message) {
  const std::shared_ptr<spdlog::logger> logger = LibraryLogger().lock();
  if (logger == nullptr) return;
  // These concern bytes from a client, which is answered with an error.
  LogEvent(*logger, spdlog::level::debug, message, {{"from", "protobuf"}});
}

class WarningsOfTorch final : public c10::WarningHandler {
 public:
  void process(const c10::Warning& warning) override {
    const std::shared_ptr<spdlog::logger> logger = LibraryLogger().lock();
    if (logger == nullptr) return;
    LogEvent(*logger, spdlog::level::warn, warning.msg(), {{"from", "libtorch"}});
  }
};

}  // namespace

std::shared_ptr<spdlog::logger> MakeLogger(LogFormat format, spdlog::level::level_enum level,
                                           int fd) {
  auto logger =
      std::make_shared<spdlog::logger>("hookwired", std::make_shared<NonBlockingSink>(fd));
  logger->set_formatter(std::make_unique<LineFormatter>(format));
  logger->set_level(level);
  return logger;
}

void LogEvent(spdlog::logger& logger, spdlog::level::level_enum level, std::string_view message,
              const Json& fields) {
  if (!logger.should_log(level)) return;
  // As a string_view_t, so that spdlog does not take braces for a format.
  std::string payload(message);
  payload += kFieldsFollow;
  payload += Dump(fields);
  logger.log(level, spdlog::string_view_t(payload));
}

void CaptureLibraryLogs(const std::shared_ptr<spdlog::logger>& logger) {
  LibraryLogger() = logger;
  gpr_set_log_function(&LogOfGrpc);
  google::protobuf::SetLogHandler(&LogOfProtobuf);
  static WarningsOfTorch warnings;
  c10::WarningUtils::set_warning_handler(&warnings);
}

}  // namespace hookwire::server
