#include "server/plan/sequence_groups.h"

#include <algorithm>
#include <cstddef>
#include <numeric>

namespace hookwire::server {
namespace {

// By sequence: the first of the sequences that must be in the same pass.
std::vector<int> FirstCompanions(const RunPlan& plan) {
  std::vector<int> first(plan.sequences.size());
  std::iota(first.begin(), first.end(), 0);
  const auto find = [&first](int s) {
    while (first[static_cast<size_t>(s)] != s) s = first[static_cast<size_t>(s)];
    return s;
  };
  const auto tie = [&](const Slice& one, const Slice& other) {
    const int a = find(one.sequence);
    const int b = find(other.sequence);
    first[static_cast<size_t>(std::max(a, b))] = std::min(a, b);
  };
  for (const OpPlan& op : plan.ops) {
    for (size_t i = 0; i < op.sources.size(); ++i) tie(op.targets[i], op.sources[i]);
    if (!op.is_shown()) continue;
    for (const Slice& target : op.targets) tie(op.targets.front(), target);
  }
  for (size_t s = 0; s < first.size(); ++s) first[s] = find(static_cast<int>(s));
  return first;
}

}  // namespace

std::vector<SequenceGroup> GroupSequences(const RunPlan& plan, int64_t max_tokens) {
  const size_t n = plan.sequences.size();
  const std::vector<int> first = FirstCompanions(plan);
  // Sequences that must stay together, by the first of them, and their tokens.
  std::vector<std::vector<int>> companions(n);
  std::vector<int64_t> tokens(n, 0);
  for (size_t s = 0; s < n; ++s) {
    const auto f = static_cast<size_t>(first[s]);
    companions[f].push_back(static_cast<int>(s));
    tokens[f] += static_cast<int64_t>(plan.sequences[s].size());
  }

  std::vector<SequenceGroup> groups;
  int64_t in_group = 0;
  for (size_t f = 0; f < n; ++f) {
    if (companions[f].empty()) continue;
    if (groups.empty() || in_group + tokens[f] > max_tokens) {
      groups.emplace_back();
      in_group = 0;
    }
    std::vector<int>& sequences = groups.back().sequences;
    sequences.insert(sequences.end(), companions[f].begin(), companions[f].end());
    in_group += tokens[f];
  }
  for (size_t g = 0; g < groups.size(); ++g) {
    SequenceGroup& group = groups[g];
    group.number = static_cast<int>(g);
    group.count = static_cast<int>(groups.size());
    std::sort(group.sequences.begin(), group.sequences.end());
    group.indices.assign(n, SequenceGroup::kElsewhere);
    for (size_t i = 0; i < group.sequences.size(); ++i) {
      group.indices[static_cast<size_t>(group.sequences[i])] = static_cast<int>(i);
    }
  }
  return groups;
}

}  // namespace hookwire::server
