#include "server/execute/log_probs.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <numeric>

#include "server/errors/status_macros.h"

namespace hookwire::server {

absl::StatusOr<at::Tensor> TargetLogProbs(const at::Tensor& logits,
                                          const std::vector<int64_t>& rows,
                                          const std::vector<int64_t>& tokens,
                                          absl::FunctionRef<absl::Status()> between_blocks,
                                          int64_t max_bytes) {
  at::Tensor result = at::empty({static_cast<int64_t>(rows.size())}, at::kFloat);
  float* out = result.mutable_data_ptr<float>();
  if (rows.empty()) return result;

  // Targets sorted by row, so that the log_softmax of a row is computed once.
  std::vector<size_t> order(rows.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return rows[a] < rows[b]; });

  const int64_t row_bytes = logits.size(1) * static_cast<int64_t>(sizeof(float));
  const auto max_rows = static_cast<size_t>(std::max<int64_t>(1, max_bytes / row_bytes));
  for (size_t i = 0; i < order.size();) {
    HOOKWIRE_RETURN_IF_ERROR(between_blocks());
    std::vector<int64_t> chunk;
    // Indices into the chunk's log-probabilities, flattened.
    std::vector<int64_t> flat;
    const size_t first = i;
    for (; i < order.size(); ++i) {
      const int64_t row = rows[order[i]];
      if (chunk.empty() || chunk.back() != row) {
        if (chunk.size() == max_rows) break;
        chunk.push_back(row);
      }
      const auto local = static_cast<int64_t>(chunk.size()) - 1;
      flat.push_back(local * logits.size(1) + tokens[order[i]]);
    }
    const auto index = [&](const std::vector<int64_t>& list) {
      return at::tensor(list, at::kLong).to(logits.device());
    };
    const at::Tensor log_probs = at::log_softmax(
        logits.index_select(0, index(chunk)).to(at::kFloat), -1);  // [chunk, d_vocab]
    const at::Tensor picked = log_probs.reshape({-1}).index_select(0, index(flat)).to(at::kCPU);
    const float* numbers = picked.const_data_ptr<float>();
    for (size_t j = first; j < i; ++j) out[order[j]] = numbers[j - first];
  }
  return result;
}

}  // namespace hookwire::server
