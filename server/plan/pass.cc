#include "server/plan/pass.h"

#include <algorithm>
#include <cstddef>
#include <numeric>

namespace hookwire::server {
namespace {

// By sequence, the first of those that must share its pass.
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
    if (op.kind != OpKind::kCallback) continue;
    for (const Slice& target : op.targets) tie(op.targets.front(), target);
  }
  for (size_t s = 0; s < first.size(); ++s) first[s] = find(static_cast<int>(s));
  return first;
}

}  // namespace

std::vector<Pass> SplitIntoPasses(const RunPlan& plan, int64_t max_tokens) {
  const size_t n = plan.sequences.size();
  const std::vector<int> first = FirstCompanions(plan);
  std::vector<std::vector<int>> groups(n);
  std::vector<int64_t> tokens(n, 0);
  for (size_t s = 0; s < n; ++s) {
    const auto group = static_cast<size_t>(first[s]);
    groups[group].push_back(static_cast<int>(s));
    tokens[group] += static_cast<int64_t>(plan.sequences[s].size());
  }

  std::vector<Pass> passes;
  int64_t in_pass = 0;
  for (size_t g = 0; g < n; ++g) {
    if (groups[g].empty()) continue;
    if (passes.empty() || in_pass + tokens[g] > max_tokens) {
      passes.emplace_back();
      in_pass = 0;
    }
    std::vector<int>& sequences = passes.back().sequences;
    sequences.insert(sequences.end(), groups[g].begin(), groups[g].end());
    in_pass += tokens[g];
  }
  for (size_t p = 0; p < passes.size(); ++p) {
    Pass& pass = passes[p];
    pass.number = static_cast<int>(p);
    pass.count = static_cast<int>(passes.size());
    std::sort(pass.sequences.begin(), pass.sequences.end());
    pass.places.assign(n, Pass::kElsewhere);
    for (size_t i = 0; i < pass.sequences.size(); ++i) {
      pass.places[static_cast<size_t>(pass.sequences[i])] = static_cast<int>(i);
    }
  }
  return passes;
}

}  // namespace hookwire::server
