// Calls with bytes instead of messages: what a client would send that does not know the schema, or
// breaks it.
#ifndef HOOKWIRE_TESTS_E2E_SUPPORT_RAW_CALL_H_
#define HOOKWIRE_TESTS_E2E_SUPPORT_RAW_CALL_H_

#include <grpcpp/channel.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace hookwire::e2e {

struct RawAnswer {
  absl::Status status;
  std::vector<std::string> messages;
};

std::shared_ptr<grpc::Channel> OpenChannel(const std::string& address);

// Sends `request` to a method ("/package.Service/Method") and reads until the call ends, or
// `timeout` has passed (DEADLINE_EXCEEDED).
RawAnswer CallRaw(const std::shared_ptr<grpc::Channel>& channel, const std::string& method,
                  const std::string& request, absl::Duration timeout = absl::Seconds(30));

}  // namespace hookwire::e2e

#endif  // HOOKWIRE_TESTS_E2E_SUPPORT_RAW_CALL_H_
