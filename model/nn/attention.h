// Attention of one sequence, or of several of equal length.
//
// Queries and keys may differ in number: query i is at position first_query + i, key j at position
// j.
#ifndef HOOKWIRE_MODEL_NN_ATTENTION_H_
#define HOOKWIRE_MODEL_NN_ATTENTION_H_

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace hookwire::model {

// Which keys a query attends to: those at its own position and before it, and with a window only
// the last `window` of these.
struct Visibility {
  // 0: no window.
  int64_t window = 0;
  int64_t first_query = 0;
};

// True where a query attends to a key: bool [queries, keys].
at::Tensor VisibleMask(int64_t queries, int64_t keys, const Visibility& visibility,
                       at::Device device);

// Attention in separate steps, for hooks on the scores and the pattern. There is no division by
// √d_head: the weight of Gemma 4's query norm contains it.
//
// q [queries, head, d_head], k [keys, key_value_head, d_head] -> [head, queries, keys], −inf where
// `visible` is false.
at::Tensor AttentionScores(const at::Tensor& q, const at::Tensor& k, const at::Tensor& visible);
// Softmax over the keys, in float32, returned in the scores' dtype.
at::Tensor AttentionPattern(const at::Tensor& scores);
// pattern [head, queries, keys], v [keys, key_value_head, d_head] -> [queries, head, d_head],
// contiguous.
at::Tensor MixValues(const at::Tensor& pattern, const at::Tensor& v);

// The same in one call of libtorch's fused kernel, for `n` sequences of equal lengths, end to end:
// q [n × queries, head, d_head], k and v [n × keys, key_value_head, d_head] -> [n × queries, head,
// d_head], contiguous. Keys behind the last query are not read. REQUIRES: first_query + queries <=
// keys.
at::Tensor FusedAttention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, int64_t n,
                          const Visibility& visibility);

}  // namespace hookwire::model

#endif  // HOOKWIRE_MODEL_NN_ATTENTION_H_
