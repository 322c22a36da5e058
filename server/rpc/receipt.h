// The last event of a run.
#ifndef HOOKWIRE_SERVER_RPC_RECEIPT_H_
#define HOOKWIRE_SERVER_RPC_RECEIPT_H_

#include <string>

#include "hookwire/v1/model.pb.h"
#include "hookwire/v1/run.pb.h"
#include "server/plan/run_plan.h"
#include "server/schedule/scheduler.h"

namespace hookwire::server {

// REQUIRES: outcome.status is OK.
v1::Receipt MakeReceipt(const std::string& run_id, const std::string& weights_digest,
                        const v1::Server& server, const RunPlan& plan, const RunOutcome& outcome);

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_RPC_RECEIPT_H_
