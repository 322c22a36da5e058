#include "server/access/call_limit.h"

#include "absl/strings/str_cat.h"
#include "server/errors/errors.h"

namespace hookwire::server {

absl::StatusOr<CallLimit::Call> CallLimit::Admit(const Principal& client) {
  {
    absl::MutexLock lock(&mutex_);
    const auto found = by_client_.find(client.key);
    if (found == by_client_.end() || found->second < max_calls_) {
      ++by_client_[client.key];
      ++open_;
      return Call(*this, client.key);
    }
  }
  return MakeError(absl::StrCat("this client has ", max_calls_,
                                " calls open, as many as this server lets one "
                                "client have: end some, or wait for them, before the next"),
                   {v1::ERROR_REASON_TOO_MANY_CALLS,
                    "",
                    {{"calls", absl::StrCat(max_calls_)}, {"limit", absl::StrCat(max_calls_)}}});
}

size_t CallLimit::open() const {
  const absl::MutexLock lock(&mutex_);
  return open_;
}

void CallLimit::WaitUntilNoneIsOpen() const {
  absl::MutexLock lock(&mutex_);
  const auto none = [this]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return open_ == 0; };
  mutex_.Await(absl::Condition(&none));
}

void CallLimit::End(const std::string& client) {
  absl::MutexLock lock(&mutex_);
  --open_;
  const auto calls = by_client_.find(client);
  if (--calls->second == 0) by_client_.erase(calls);
}

}  // namespace hookwire::server
