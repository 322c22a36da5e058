#include "model/nn/attention.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/softmax.h>

#include <algorithm>
#include <limits>
#include <optional>
#include <vector>

#include "model/nn/one_thread.h"

namespace hookwire::model {
namespace {

// The fewest queries in a block of a long sequence: smaller ones spend their time in calls.
constexpr int64_t kLeastBlock = 128;

// With fewer multiplications than this, one thread is faster. libtorch's fused attention wakes all
// threads whatever the size.
constexpr int64_t kGrainProducts = int64_t{1} << 19;

// [rows, head, d_head] -> [1, head, rows, d_head], with each key-value head repeated for the query
// heads that share it.
at::Tensor ToHeads(const at::Tensor& x, int64_t n_heads) {
  at::Tensor heads = x.unsqueeze(0).transpose(1, 2);
  const int64_t repeats = n_heads / heads.size(1);
  if (repeats == 1) return heads;
  return heads.unsqueeze(2)
      .expand({1, heads.size(1), repeats, heads.size(2), heads.size(3)})
      .reshape({1, n_heads, heads.size(2), heads.size(3)});
}

// q, k, v [n, head, pos, d_head] -> [n, head, pos of q, d_head].
at::Tensor Attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                  const Visibility& visibility) {
  const int64_t queries = q.size(2);
  const int64_t keys = k.size(2);
  const bool windowed =
      visibility.window > 0 && visibility.first_query + queries > visibility.window;
  const bool causal = !windowed && visibility.first_query == 0 && queries == keys;
  const bool sees_all = !windowed && queries == 1 && visibility.first_query + 1 == keys;
  std::optional<at::Tensor> mask;
  if (!causal && !sees_all) mask = VisibleMask(queries, keys, visibility, q.device());
  return at::scaled_dot_product_attention(q, k, v, mask, /*dropout_p=*/0.0, causal,
                                          /*scale=*/1.0, /*enable_gqa=*/q.size(1) != k.size(1));
}

}  // namespace

at::Tensor VisibleMask(int64_t queries, int64_t keys, const Visibility& visibility,
                       at::Device device) {
  const auto options = at::TensorOptions().dtype(at::kLong).device(device);
  const at::Tensor query =
      at::arange(visibility.first_query, visibility.first_query + queries, options)
          .unsqueeze(1);                                          // [queries, 1]
  const at::Tensor key = at::arange(keys, options).unsqueeze(0);  // [1, keys]
  at::Tensor visible = key <= query;
  if (visibility.window > 0) visible = visible.logical_and(key > query - visibility.window);
  return visible;
}

at::Tensor AttentionScores(const at::Tensor& q, const at::Tensor& k, const at::Tensor& visible) {
  const int64_t n_heads = q.size(1);
  at::Tensor scores = at::matmul(ToHeads(q, n_heads), ToHeads(k, n_heads).transpose(2, 3));
  return scores.squeeze(0).masked_fill_(visible.logical_not(),
                                        -std::numeric_limits<double>::infinity());
}

at::Tensor AttentionPattern(const at::Tensor& scores) {
  return at::softmax(scores, -1, at::kFloat).to(scores.scalar_type());
}

at::Tensor MixValues(const at::Tensor& pattern, const at::Tensor& v) {
  const at::Tensor mixed = at::matmul(pattern.unsqueeze(0), ToHeads(v, pattern.size(0)));
  return mixed.transpose(1, 2).contiguous().squeeze(0);
}

at::Tensor FusedAttention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, int64_t n,
                          const Visibility& visibility) {
  const auto heads = [n](const at::Tensor& x) {
    return x.unflatten(0, {n, x.size(0) / n}).transpose(1, 2);
  };
  const auto rows = [&q](const at::Tensor& mixed) {
    return mixed.transpose(1, 2).reshape(q.sizes()).contiguous();  // [n × queries, head, d_head]
  };
  const at::Tensor heads_q = heads(q);
  const int64_t queries = heads_q.size(2);
  const int64_t seen = visibility.first_query + queries;
  const at::Tensor heads_k = heads(k).narrow(2, 0, seen);
  const at::Tensor heads_v = heads(v).narrow(2, 0, seen);
  const OneThread small(q.numel() * heads_k.size(2) < kGrainProducts);
  const int64_t window = visibility.window;
  const int64_t block = std::max(window, kLeastBlock);
  if (window == 0 || (queries < 2 * block && visibility.first_query == 0)) {
    return rows(Attend(heads_q, heads_k, heads_v, visibility));
  }
  // A long sequence with a window goes in blocks of queries, each with the keys in its window, so
  // that neither the work nor the mask grows with the square of the length.
  std::vector<at::Tensor> blocks;
  for (int64_t row = 0; row < queries; row += block) {
    const int64_t count = std::min(block, queries - row);
    const int64_t first = visibility.first_query + row;
    const int64_t first_key = std::max<int64_t>(0, first - window + 1);
    const int64_t keys = first + count - first_key;
    blocks.push_back(Attend(heads_q.narrow(2, row, count), heads_k.narrow(2, first_key, keys),
                            heads_v.narrow(2, first_key, keys),
                            {.window = window, .first_query = first - first_key}));
  }
  return rows(at::cat(blocks, 2));
}

}  // namespace hookwire::model
