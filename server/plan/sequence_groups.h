// Which sequences of a run go through the layers together: a run of many tokens takes several
// passes, so that the memory of a pass is limited by configuration, not by the request.
#ifndef HOOKWIRE_SERVER_PLAN_SEQUENCE_GROUPS_H_
#define HOOKWIRE_SERVER_PLAN_SEQUENCE_GROUPS_H_

#include <cstdint>
#include <vector>

#include "server/plan/run_plan.h"

namespace hookwire::server {

// The sequences of one run that share a pass.
struct SequenceGroup {
  static constexpr int kElsewhere = -1;

  // Numbers of the plan's sequences, ascending.
  std::vector<int> sequences;
  // By sequence of the plan: its index in `sequences`, or kElsewhere.
  std::vector<int> indices;
  // This is group `number` of `count`, from 0.
  int number = 0;
  int count = 1;

  int index(const Slice& slice) const { return indices[static_cast<size_t>(slice.sequence)]; }
  bool Has(const Slice& slice) const { return index(slice) != kElsewhere; }
};

// Groups of at most `max_tokens` tokens, in the order of the sequences. A single sequence may have
// more, and so may sequences that one intervention copies between, or shows to the client together:
// they stay together.
std::vector<SequenceGroup> GroupSequences(const RunPlan& plan, int64_t max_tokens);

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_PLAN_SEQUENCE_GROUPS_H_
