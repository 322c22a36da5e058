#include "server/rpc/receipt.h"

namespace hookwire::server {

v1::Receipt MakeReceipt(const std::string& run_id, const std::string& weights_digest,
                        const v1::Server& server, const RunPlan& plan, const RunOutcome& outcome) {
  v1::Receipt receipt;
  receipt.set_run_id(run_id);
  receipt.set_weights_digest(weights_digest);
  receipt.set_build(server.build());
  receipt.set_device(server.device());
  receipt.set_dtype(server.dtype());
  receipt.set_numerics(server.numerics());
  receipt.set_threads(server.threads());
  receipt.set_batch_runs(outcome.batch.runs);
  receipt.set_batch_sequences(outcome.batch.sequences);
  receipt.set_batch_tokens(outcome.batch.tokens);
  receipt.set_tensors(outcome.report.tensors);
  receipt.set_bytes(outcome.report.bytes);
  receipt.set_n_layers_run(static_cast<uint32_t>(plan.n_layers_run));
  receipt.set_repeats(outcome.repeats);
  receipt.set_queue_us(static_cast<uint64_t>(absl::ToInt64Microseconds(outcome.queued)));
  receipt.set_compute_us(static_cast<uint64_t>(absl::ToInt64Microseconds(outcome.computed)));
  for (const NonFiniteCount& count : outcome.report.non_finite) {
    v1::NonFinite* const out = receipt.add_non_finite();
    out->set_hook(count.hook);
    out->set_sequence(count.sequence);
    out->set_nan(count.nan);
    out->set_inf(count.inf);
  }
  return receipt;
}

}  // namespace hookwire::server
