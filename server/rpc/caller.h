// The client of a call that has been admitted.
#ifndef HOOKWIRE_SERVER_RPC_CALLER_H_
#define HOOKWIRE_SERVER_RPC_CALLER_H_

#include "server/access/call_limit.h"
#include "server/access/principal.h"

namespace hookwire::server {

// Who makes a call; the call counts among that client's calls while this exists.
struct Caller {
  Principal principal;
  CallLimit::Call call;
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_RPC_CALLER_H_
