#include "server/plan/activation_memory.h"

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <set>
#include <utility>

#include "model/adapter/catalogue.h"

namespace hookwire::server {
namespace {

using model::Config;
using model::LayerConfig;
using model::Numerics;
using model::Site;

// Sizes in bytes, for one dtype and one run; doubles, which do not overflow.
class Estimate {
 public:
  Estimate(const model::TextModel& model, Numerics numerics, const RunPlan& plan,
           const std::vector<int>& sequences, int64_t longest)
      : model_(model),
        config_(model.config()),
        numerics_(numerics),
        plan_(plan),
        sequences_(sequences),
        longest_(longest),
        size_(static_cast<double>(c10::elementSize(model.dtype()))) {
    for (const int s : sequences_) tokens_ += Length(s);
    for (const CapturePlan& capture : plan_.captures) {
      for (const TensorPlan& tensor : capture.tensors) Note(capture.hook, tensor.slice.sequence);
    }
    for (const OpPlan& op : plan_.ops) {
      for (const Slice& slice : op.targets) Note(op.hook, slice.sequence);
      for (const Slice& slice : op.sources) Note(op.hook, slice.sequence);
    }
  }

  double Total() const {
    double widest = Begin();
    for (int layer = 0; layer < plan_.n_layers_run; ++layer) {
      widest = std::max(widest, Layer(layer));
    }
    if (plan_.finish) widest = std::max(widest, Finish());
    return State() + widest + LargestTensor();
  }

 private:
  double Length(int s) const {
    const auto length = static_cast<int64_t>(plan_.sequences[static_cast<size_t>(s)].size());
    return static_cast<double>(std::min(length, longest_));
  }
  // [tokens, width] in the compute dtype, and in float32.
  double Rows(int64_t width) const { return tokens_ * static_cast<double>(width) * size_; }
  double FloatRows(int64_t width) const { return tokens_ * static_cast<double>(width) * 4; }

  // Whether the run reads or changes this hook point in a sequence.
  bool Wants(Site site, int layer, int s) const {
    const model::HookId id = model_.catalogue().id(site, layer);
    return id != model::kNoHook && wanted_.contains({id, s});
  }

  // Records the hook points that make the pass compute more than without them.
  void Note(model::HookId hook, int sequence) {
    switch (model_.catalogue().point(hook).site) {
      case Site::kAttnScores:
      case Site::kPattern:
      case Site::kResult:
      case Site::kQInput:
      case Site::kKInput:
      case Site::kVInput:
      case Site::kUnembedOut:
      case Site::kLogits:
        wanted_.emplace(hook, sequence);
        break;
      default:
        break;
    }
  }

  // The pass's state, which exists from the first layer to the last: the residual stream, the
  // per-layer inputs, rotary factors, and the keys and values that later layers share.
  double State() const {
    double bytes = Rows(config_.d_model) + tokens_ * 24;
    bytes += Rows(config_.d_per_layer_input * config_.n_layers());
    for (int type = 0; type < model::kNumLayerTypes; ++type) {
      const LayerConfig* any = nullptr;
      bool shared = false;
      for (const LayerConfig& layer : config_.layers) {
        if (static_cast<int>(layer.type) != type) continue;
        any = &layer;
        shared |= layer.shares_key_values();
      }
      if (any == nullptr) continue;
      bytes += 2 * Rows(any->d_head);
      if (shared) bytes += 2 * Rows(any->n_key_value_heads * any->d_head);
    }
    return bytes;
  }

  double Begin() const {
    const int64_t per_layer = config_.d_per_layer_input * config_.n_layers();
    return Rows(config_.d_model) + 3 * Rows(per_layer) + 4 * FloatRows(per_layer);
  }

  double Layer(int layer) const {
    const LayerConfig& at = config_.layers[static_cast<size_t>(layer)];
    // The stream before and after, in float32 too, and a norm's float32 steps.
    const double base = 3 * Rows(config_.d_model) + 5 * FloatRows(config_.d_model);
    const double bf16 = model_.dtype() == at::kBFloat16 ? 2 * FloatRows(at.d_mlp) : 0;
    const double mlp = 4 * Rows(at.d_mlp) + bf16;
    return base + std::max({Attention(layer, at), mlp, Experts()});
  }

  double Attention(int layer, const LayerConfig& at) const {
    const double n_heads = static_cast<double>(at.n_heads);
    double bytes = 4 * Rows(at.n_heads * at.d_head) + 2 * FloatRows(at.n_heads * at.d_head) +
                   5 * Rows(at.n_key_value_heads * at.d_head);
    double longest = 0;
    for (const int s : sequences_) {
      const double length = Length(s);
      const double square = length * length;
      longest = std::max(longest, square);
      const bool inside = numerics_ == Numerics::kReference || Wants(Site::kAttnScores, layer, s) ||
                          Wants(Site::kPattern, layer, s);
      // Scores, their softmax in float32, the pattern, and keys and values repeated for all heads.
      if (inside) {
        bytes += n_heads * square * (2 * size_ + 4 + 1) +
                 2 * n_heads * length * static_cast<double>(at.d_head) * size_;
      }
      const double heads_rows = n_heads * length * static_cast<double>(config_.d_model) * size_;
      if (Wants(Site::kResult, layer, s)) bytes += 2 * heads_rows;
      for (const Site site : {Site::kQInput, Site::kKInput, Site::kVInput}) {
        if (Wants(site, layer, s)) bytes += 3 * heads_rows;
      }
    }
    // The mask, as booleans and as numbers. With a window it is one block of queries wide.
    const double block = 2.0 * static_cast<double>(std::max<int64_t>(128, config_.sliding_window));
    if (numerics_ == Numerics::kFast && at.type == model::LayerType::kSliding) {
      longest = std::min(longest, block * block);
    }
    return bytes + longest * (2 + 2 * size_);
  }

  double Experts() const {
    if (!config_.has_experts()) return 0;
    return static_cast<double>(config_.n_experts_per_token) *
               (4 * Rows(config_.d_model) + 4 * Rows(config_.d_expert) + tokens_ * 64) +
           3 * FloatRows(config_.n_experts);
  }

  double Finish() const {
    const double width = static_cast<double>(config_.d_vocab);
    double rows = 0;
    double longest = 0;
    for (const OutputPlan& output : plan_.outputs) {
      for (const int sequence : sequences_) {
        const auto s = static_cast<size_t>(sequence);
        double wanted = 0;
        if (output.source == v1::TensorGroup::SOURCE_LOGITS) {
          wanted = static_cast<double>(output.tensors[s].shape.front());
        } else if (!output.positions.empty()) {
          wanted = static_cast<double>(output.positions[s].size());
        }
        wanted = std::min(wanted, Length(sequence));
        rows += wanted;
        if (wanted > 0) longest = std::max(longest, Length(sequence));
      }
    }
    const bool looked_at = std::any_of(sequences_.begin(), sequences_.end(), [this](int s) {
      return Wants(Site::kUnembedOut, -1, s) || Wants(Site::kLogits, -1, s);
    });
    // All rows if a hook wants them; those of one sequence in `reference`; otherwise one block.
    double logits = 2 * std::min(rows * width * size_,
                                 static_cast<double>(model::TextModel::Options().max_logits_bytes));
    if (numerics_ == Numerics::kReference) logits = 2 * longest * width * size_;
    if (looked_at) logits = 3 * tokens_ * width * size_;
    return 3 * Rows(config_.d_model) + 3 * FloatRows(config_.d_model) + logits;
  }

  double LargestTensor() const {
    uint64_t largest = 0;
    for (const CapturePlan& capture : plan_.captures) {
      for (const TensorPlan& tensor : capture.tensors) largest = std::max(largest, tensor.bytes);
    }
    for (const OpPlan& op : plan_.ops) {
      for (const TensorPlan& tensor : op.tensors) largest = std::max(largest, tensor.bytes);
    }
    // The tensor in its wire dtype, and the mask of its non-finite elements.
    return 1.5 * static_cast<double>(largest);
  }

  const model::TextModel& model_;
  const Config& config_;
  const Numerics numerics_;
  const RunPlan& plan_;
  const std::vector<int>& sequences_;
  const int64_t longest_;
  const double size_;
  double tokens_ = 0;
  std::set<std::pair<model::HookId, int>> wanted_;
};

}  // namespace

uint64_t ActivationBytes(const model::TextModel& model, Numerics numerics, const RunPlan& plan,
                         const std::vector<int>& sequences, int64_t longest) {
  // More than any device has; larger numbers would not fit into the type.
  constexpr double kMost = 1e18;
  return static_cast<uint64_t>(
      std::min(kMost, Estimate(model, numerics, plan, sequences, longest).Total()));
}

}  // namespace hookwire::server
