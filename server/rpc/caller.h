// A call that has been let in.
#ifndef HOOKWIRE_SERVER_RPC_CALLER_H_
#define HOOKWIRE_SERVER_RPC_CALLER_H_

#include "server/access/call_limit.h"
#include "server/access/principal.h"

namespace hookwire::server {

// Who makes a call, and its place among that client's calls. Lives as long as the call.
struct Caller {
  Principal principal;
  CallLimit::Call call;
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_RPC_CALLER_H_
