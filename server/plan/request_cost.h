// What a request costs the server before and while it runs, in work and in memory.
#ifndef HOOKWIRE_SERVER_PLAN_REQUEST_COST_H_
#define HOOKWIRE_SERVER_PLAN_REQUEST_COST_H_

#include <c10/core/ScalarType.h>

#include <cstdint>

#include "hookwire/v1/run.pb.h"
#include "model/adapter/catalogue.h"
#include "server/plan/run_plan.h"

namespace hookwire::server {

// An upper bound of the work of planning, in steps of some 100 ns: each filter may be compared with
// every name of the catalogue, and what it may match is put onto each sequence.
uint64_t PlanningWork(const v1::RunSpec& spec, const model::Catalogue& catalogue);
// The same for ListHooks with so many filters.
uint64_t MatchingWork(uint64_t filters, const model::Catalogue& catalogue);

// Bytes of the copies that planning makes of the values that come with or after `spec`, for a model
// that computes in `compute`.
uint64_t ValueBytes(const v1::RunSpec& spec, at::ScalarType compute);

// Bytes that a run holds from planning until its last tensor has left, the results' payload apart:
// the plan, its values, the answers to one callback, and 1 KiB for each tensor, which covers what
// is planned of it, queued and told to the client.
uint64_t HeldBytes(const RunPlan& plan);

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_PLAN_REQUEST_COST_H_
