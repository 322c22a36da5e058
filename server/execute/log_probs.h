// Log-probabilities of target tokens, without a second copy of the logits.
#ifndef HOOKWIRE_SERVER_EXECUTE_LOG_PROBS_H_
#define HOOKWIRE_SERVER_EXECUTE_LOG_PROBS_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace hookwire::server {

// log_softmax(float32(logits[rows[i]]))[tokens[i]] for each i: float32, on the CPU, [rows.size()].
// `logits` is [n, d_vocab]; rows may repeat. At most `max_bytes` of float32 logits exist at once,
// or one row.
// `between_blocks` is called before each block of that size; its error is returned.
absl::StatusOr<at::Tensor> TargetLogProbs(const at::Tensor& logits,
                                          const std::vector<int64_t>& rows,
                                          const std::vector<int64_t>& tokens,
                                          absl::FunctionRef<absl::Status()> between_blocks,
                                          int64_t max_bytes = int64_t{8} << 20);

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_EXECUTE_LOG_PROBS_H_
