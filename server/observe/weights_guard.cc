#include "server/observe/weights_guard.h"

#include <filesystem>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/errors/errors.h"

namespace hookwire::server {
namespace {

// Names the file without its directory, which clients need not know.
absl::Status WeightsChanged(const model::FileChange& change) {
  const std::string file = std::filesystem::path(change.path).filename().string();
  return MakeError(
      absl::StrCat("the weights have changed since the server loaded them (", file, ": ",
                   change.what, "); the server has to be started again"),
      {v1::ERROR_REASON_WEIGHTS_CHANGED, "", {{"file", file}, {"change", change.what}}});
}

}  // namespace

WeightsGuard::WeightsGuard(Look look) : look_(std::move(look)) {}

absl::Status WeightsGuard::Check() {
  absl::MutexLock lock(&mutex_);
  if (changed_) return status_;
  change_ = look_();
  if (change_.has_value()) {
    status_ = WeightsChanged(*change_);
    changed_ = true;
  }
  return status_;
}

absl::Status WeightsGuard::status() const {
  if (!changed_) return absl::OkStatus();
  absl::MutexLock lock(&mutex_);
  return status_;
}

std::optional<model::FileChange> WeightsGuard::change() const {
  absl::MutexLock lock(&mutex_);
  return change_;
}

WeightsWatch::WeightsWatch(WeightsGuard& guard, absl::Duration interval,
                           std::function<void(const model::FileChange&)> on_change)
    : guard_(guard),
      interval_(interval),
      on_change_(std::move(on_change)),
      thread_([this] { Watch(); }) {}

WeightsWatch::~WeightsWatch() {
  {
    absl::MutexLock lock(&mutex_);
    stop_ = true;
  }
  thread_.join();
}

void WeightsWatch::Watch() {
  while (guard_.Check().ok()) {
    absl::MutexLock lock(&mutex_);
    if (mutex_.AwaitWithTimeout(absl::Condition(&stop_), interval_)) return;
  }
  on_change_(*guard_.change());
}

}  // namespace hookwire::server
