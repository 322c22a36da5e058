// Estimates the work of planning a request, and the memory that a run holds.
#ifndef HOOKWIRE_SERVER_PLAN_REQUEST_COST_H_
#define HOOKWIRE_SERVER_PLAN_REQUEST_COST_H_

#include <c10/core/ScalarType.h>

#include <cstdint>

#include "hookwire/v1/run.pb.h"
#include "model/adapter/catalogue.h"
#include "server/plan/run_plan.h"

namespace hookwire::server {

// An upper bound of the work of planning, in steps of some 100 ns: each filter may be compared with
// every name of the catalogue, and each match is planned for each sequence.
uint64_t PlanningWork(const v1::RunSpec& spec, const model::Catalogue& catalogue);
// The same for ListHooks with so many filters.
uint64_t MatchingWork(uint64_t filters, const model::Catalogue& catalogue);

// Bytes of the copies that planning makes of the values in `spec` and of its uploads, for a model
// that computes in `compute`.
uint64_t ValueBytes(const v1::RunSpec& spec, at::ScalarType compute);

// Bytes that a run holds from planning until its last tensor has been sent, without the payload of
// its result: the plan, its values, the answers to one callback, and 1 KiB for each tensor, which
// covers its plan, its place in the stream's queue and its description for the client.
uint64_t HeldBytes(const RunPlan& plan);

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_PLAN_REQUEST_COST_H_
