// Plans the outputs: logits, log-probabilities, and the residual stream at the end of the pass.
#include <cstdint>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/errors/status_macros.h"
#include "server/plan/dtypes.h"
#include "server/plan/planning.h"
#include "server/plan/selection.h"

namespace hookwire::server {
namespace {

// Logits and log-probabilities need the whole pass.
absl::Status CheckWholePass(const Planning& planning, const char* output, const FieldPath& path) {
  if (!planning.stop.has_value()) return absl::OkStatus();
  return InputError(
      v1::ERROR_REASON_NEVER_FIRES, path,
      absl::StrCat(output, " never come: the pass ends before layer ", *planning.stop,
                   " (stop_at_layer), and they need all ", planning.n_layers(),
                   " and the final norm; leave stop_at_layer out, or ask for outputs.residual"),
      {{"hook", "hook_logits"}, {"stop_at_layer", absl::StrCat(*planning.stop)}});
}

absl::Status PlanLogits(Planning& planning, const v1::LogitsOutput& logits, const FieldPath& path) {
  HOOKWIRE_RETURN_IF_ERROR(CheckWholePass(planning, "logits", path));
  OutputPlan output;
  output.source = v1::TensorGroup::SOURCE_LOGITS;
  HOOKWIRE_ASSIGN_OR_RETURN(output.dtype, WireDtype(logits.dtype(), planning.model.dtype(),
                                                    "logits", FieldPath(path, "dtype")));
  Picker positions(logits.has_positions() ? &logits.positions() : nullptr);
  const int64_t d_vocab = planning.model.config().d_vocab;
  for (int s = 0; s < planning.n_sequences(); ++s) {
    const int64_t length = planning.length(s);
    HOOKWIRE_ASSIGN_OR_RETURN(
        AxisPick pick, positions.Pick(length, FieldPath(path, "positions"), [&] {
          return AxisPlace{model::AxisKind::kPosition, "pos", length, "logits", s};
        }));
    TensorPlan tensor;
    tensor.shape = {pick.count, d_vocab};
    tensor.slice.sequence = s;
    tensor.slice.picks = {std::move(pick), AxisPick{0, 1, d_vocab, {}}};
    output.tensors.push_back(std::move(tensor));
  }
  planning.plan.outputs.push_back(std::move(output));
  return absl::OkStatus();
}

// The targets of one sequence: what the request names, or the next token of each position but the
// last.
absl::Status PlanTargets(const Planning& planning, const v1::LogProbsOutput& log_probs, int s,
                         const FieldPath& parent, OutputPlan& output) {
  std::vector<int64_t> positions;
  std::vector<int64_t> tokens;
  const std::vector<int64_t>& sequence = planning.plan.sequences[static_cast<size_t>(s)];
  if (log_probs.targets().empty()) {
    tokens.assign(sequence.begin() + 1, sequence.end());
    for (size_t i = 0; i < tokens.size(); ++i) positions.push_back(static_cast<int64_t>(i));
  } else {
    const FieldPath path(parent, "targets", s);
    const v1::Targets& targets = log_probs.targets(s);
    if (targets.positions_size() != targets.token_ids_size()) {
      return InputError(
          v1::ERROR_REASON_BAD_FIELD, path,
          absl::StrCat("the targets of sequence ", s, " have ", targets.positions_size(),
                       " positions and ", targets.token_ids_size(),
                       " token ids: each position needs one token id"));
    }
    const int64_t length = planning.length(s);
    const int64_t d_vocab = planning.model.config().d_vocab;
    for (int i = 0; i < targets.positions_size(); ++i) {
      const int64_t position = FromEnd(targets.positions(i), length);
      if (position < 0) {
        return OutsideAxis(absl::StrCat("position ", targets.positions(i)),
                           {model::AxisKind::kPosition, "pos", length, "log_probs", s},
                           FieldPath(path, "positions", i));
      }
      if (targets.token_ids(i) >= static_cast<uint64_t>(d_vocab)) {
        return InputError(
            v1::ERROR_REASON_TOKEN_OUT_OF_RANGE, FieldPath(path, "token_ids", i),
            absl::StrCat("target token id ", targets.token_ids(i), " of sequence ", s,
                         " is out of range: the vocabulary goes from 0 to ", d_vocab - 1),
            {{"sequence", absl::StrCat(s)},
             {"token_id", absl::StrCat(targets.token_ids(i))},
             {"limit", absl::StrCat(d_vocab)}});
      }
      positions.push_back(position);
      tokens.push_back(targets.token_ids(i));
    }
  }
  TensorPlan tensor;
  tensor.slice.sequence = s;
  tensor.shape = {static_cast<int64_t>(positions.size())};
  output.tensors.push_back(std::move(tensor));
  output.positions.push_back(std::move(positions));
  output.targets.push_back(std::move(tokens));
  return absl::OkStatus();
}

absl::Status PlanLogProbs(Planning& planning, const v1::LogProbsOutput& log_probs,
                          const FieldPath& path) {
  HOOKWIRE_RETURN_IF_ERROR(CheckWholePass(planning, "log_probs", path));
  const int entries = log_probs.targets_size();
  if (entries != 0 && entries != planning.n_sequences()) {
    return InputError(
        v1::ERROR_REASON_BAD_FIELD, FieldPath(path, "targets"),
        absl::StrCat("log_probs has targets for ", entries, " sequences, and the run has ",
                     planning.n_sequences(),
                     ": give one entry a sequence (possibly an empty one), or none at "
                     "all for the next tokens"));
  }
  OutputPlan output;
  output.source = v1::TensorGroup::SOURCE_LOG_PROBS;
  output.dtype = at::kFloat;
  for (int s = 0; s < planning.n_sequences(); ++s) {
    HOOKWIRE_RETURN_IF_ERROR(PlanTargets(planning, log_probs, s, path, output));
  }
  planning.plan.outputs.push_back(std::move(output));
  return absl::OkStatus();
}

absl::Status PlanResidual(Planning& planning, const FieldPath& path) {
  if (!planning.stop.has_value()) {
    return InputError(
        v1::ERROR_REASON_BAD_FIELD, path,
        absl::StrCat("outputs.residual needs stop_at_layer, the layer that the residual "
                     "stream would enter (0 to ",
                     planning.n_layers(), ")"));
  }
  OutputPlan output;
  output.source = v1::TensorGroup::SOURCE_RESIDUAL;
  output.dtype = planning.model.dtype();
  for (int s = 0; s < planning.n_sequences(); ++s) {
    TensorPlan tensor;
    tensor.slice.sequence = s;
    tensor.shape = {planning.length(s), planning.model.config().d_model};
    output.tensors.push_back(std::move(tensor));
  }
  planning.plan.outputs.push_back(std::move(output));
  return absl::OkStatus();
}

}  // namespace

absl::Status PlanOutputs(Planning& planning) {
  const FieldPath root("spec");
  const FieldPath path(root, "outputs");
  const v1::Outputs& outputs = planning.spec.outputs();
  if (outputs.has_logits()) {
    HOOKWIRE_RETURN_IF_ERROR(PlanLogits(planning, outputs.logits(), FieldPath(path, "logits")));
  }
  if (outputs.has_log_probs()) {
    HOOKWIRE_RETURN_IF_ERROR(
        PlanLogProbs(planning, outputs.log_probs(), FieldPath(path, "log_probs")));
  }
  if (outputs.residual()) {
    HOOKWIRE_RETURN_IF_ERROR(PlanResidual(planning, FieldPath(path, "residual")));
  }
  return absl::OkStatus();
}

}  // namespace hookwire::server
