// Which sequences of a run share a pass: a run of many tokens goes through the layers in several
// passes, so that what a pass works with is bounded by configuration, not by the request.
#ifndef HOOKWIRE_SERVER_PLAN_PASS_H_
#define HOOKWIRE_SERVER_PLAN_PASS_H_

#include <cstdint>
#include <vector>

#include "server/plan/run_plan.h"

namespace hookwire::server {

struct Pass {
  static constexpr int kElsewhere = -1;

  // Of the plan, ascending.
  std::vector<int> sequences;
  // By sequence of the plan: its place in `sequences`, or kElsewhere.
  std::vector<int> places;
  // This is pass `number` of `count`, from 0.
  int number = 0;
  int count = 1;

  int place(const Slice& slice) const { return places[static_cast<size_t>(slice.sequence)]; }
  bool Has(const Slice& slice) const { return place(slice) != kElsewhere; }
};

// Passes of at most `max_tokens` tokens, in the order of the sequences. A single sequence may have
// more, and so may sequences that one intervention copies between, or shows to the client together:
// they stay together.
std::vector<Pass> SplitIntoPasses(const RunPlan& plan, int64_t max_tokens);

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_PLAN_PASS_H_
