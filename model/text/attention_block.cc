#include "model/text/attention_block.h"

#include <ATen/ops/constant_pad_nd.h>

#include <algorithm>
#include <map>
#include <tuple>
#include <utility>
#include <vector>

#include "model/nn/attention.h"
#include "model/nn/rotary.h"
#include "model/text/decoder_layer.h"
#include "model/text/head_paths.h"
#include "model/text/project.h"

namespace hookwire::model {
namespace {

// One layer's attention.
class Attention {
 public:
  Attention(const Config& config, const LayerWeights& weights, int layer, PassState& state,
            const Probe& probe)
      : config_(config),
        weights_(weights),
        layer_(layer),
        at_(config.layers[static_cast<size_t>(layer)]),
        state_(state),
        probe_(probe) {}

  Ragged Run(Ragged& stream) {
    // Before the norm: hook_q_input and its like show the residual stream that the norm reads.
    HeadInputs inputs = VisitHeadInputs(config_, layer_, stream, probe_);
    Ragged x = HookedNorm(config_, weights_.ln1, Site::kLn1In, layer_, stream, probe_);
    x = probe_.Visit(Site::kAttnIn, layer_, std::move(x));

    // Keys and values are made of all rows that have come so far.
    const KeyRows rows = {x, probe_.layout(), Rotary()};
    std::vector<Ragged*> also = {&stream, &x};
    if (inputs.q) also.insert(also.end(), {&inputs.q->shared, &inputs.q->written});
    LeaveRows(state_, layer_, Place::kQueries, also);

    const Ragged queries = Queries(x, inputs.q);
    Ragged keys;
    Ragged values;
    if (!at_.shares_key_values()) {
      OwnKeyValues(rows, inputs, keys, values);
      return Output(Attend(queries, keys, values, rows.layout));
    }
    const Layout layout = SharedKeyValues(keys, values);
    return Output(Attend(queries, keys, values, layout));
  }

 private:
  // The rows of which keys and values are made: those of the queries, and others that leave the
  // pass before the queries.
  struct KeyRows {
    Ragged x;  // [rows, d_model], after ln1
    Layout layout;
    RotaryTable rotary;
  };

  const RotaryTable& Rotary() const { return state_.rotary[static_cast<size_t>(at_.type)]; }
  Ragged Visit(Site site, Ragged value) const {
    return probe_.Visit(site, layer_, std::move(value));
  }
  Ragged Rotate(const Ragged& x, const RotaryTable& table) const {
    Ragged out;
    for (size_t i = 0; i < x.size(); ++i)
      out.push_back(ApplyRotary(x[i], table.cos[i], table.sin[i], probe_.layout().numerics()));
    return out;
  }
  // [rows, head × d_head] -> [rows, head, d_head].
  Ragged SplitHeads(const Ragged& x) const {
    return Map(x, [this](const at::Tensor& part) { return part.unflatten(-1, {-1, at_.d_head}); });
  }

  Ragged Queries(const Ragged& x, const std::optional<HeadInput>& input) const {
    const Numerics numerics = probe_.layout().numerics();
    Ragged q =
        SplitHeads(Project(Visit(Site::kQIn, x), weights_.q, numerics));  // [rows, head, d_head]
    if (input) q = ProjectHeadInput(config_, weights_.ln1, weights_.q, *input, q, numerics);
    q = Visit(Site::kQOut, std::move(q));
    q = HookedNorm(config_, weights_.q_norm, Site::kQNormIn, layer_, std::move(q), probe_);
    return Visit(Site::kRotQ, Rotate(q, Rotary()));
  }

  // [rows, key_value_head, d_head] each.
  void OwnKeyValues(const KeyRows& rows, const HeadInputs& inputs, Ragged& keys, Ragged& values) {
    const Layout& layout = rows.layout;
    const Numerics numerics = layout.numerics();
    const Probe probe = probe_.Over(layout);
    const auto visit = [&](Site site, Ragged value) {
      return probe.Visit(site, layer_, std::move(value));
    };
    keys = SplitHeads(Project(visit(Site::kKIn, rows.x), weights_.k, numerics));
    if (inputs.k)
      keys = ProjectHeadInput(config_, weights_.ln1, weights_.k, *inputs.k, keys, numerics);
    keys = visit(Site::kKOut, std::move(keys));
    if (at_.key_is_value) {
      values = keys;
    } else {
      values = SplitHeads(Project(visit(Site::kVIn, rows.x), weights_.v, numerics));
      if (inputs.v)
        values = ProjectHeadInput(config_, weights_.ln1, weights_.v, *inputs.v, values, numerics);
      values = visit(Site::kVOut, std::move(values));
    }
    const auto norm = [&](const at::Tensor& weight, Site in, Ragged x) {
      return HookedNorm(config_, weight, in, layer_, std::move(x), probe);
    };
    keys = Rotate(norm(weights_.k_norm, Site::kKNormIn, std::move(keys)), rows.rotary);
    values = norm({}, Site::kVNormIn, std::move(values));
    keys = visit(Site::kRotK, std::move(keys));
    values = visit(Site::kRotV, std::move(values));
    if (IsSource()) {
      std::vector<KeyValues>& shared = state_.shared_key_values[static_cast<size_t>(at_.type)];
      shared.clear();
      for (int s = 0; s < layout.n_sequences(); ++s) {
        shared.push_back({layout.Rows(keys, s), layout.Rows(values, s)});
      }
    }
  }

  // The keys and values that the source layer stored, and their layout: it has rows that have left
  // the pass since. What a hook writes here is seen by this layer alone.
  Layout SharedKeyValues(Ragged& keys, Ragged& values) const {
    std::vector<at::Tensor> k;
    std::vector<at::Tensor> v;
    std::vector<int64_t> lengths;
    for (const KeyValues& shared : state_.shared_key_values[static_cast<size_t>(at_.type)]) {
      k.push_back(shared.keys);
      v.push_back(shared.values);
      lengths.push_back(shared.keys.size(0));
    }
    Layout layout(lengths, probe_.layout().numerics());
    const Probe probe = probe_.Over(layout);
    keys = probe.Visit(Site::kRotK, layer_, layout.Join(std::move(k)));
    values = probe.Visit(Site::kRotV, layer_, layout.Join(std::move(v)));
    return layout;
  }

  bool IsSource() const {
    return std::any_of(
        config_.layers.begin(), config_.layers.end(),
        [this](const LayerConfig& other) { return other.key_value_source == layer_; });
  }

  // FusedAttention of sequences with queries and keys of equal shapes. In `invariant`, where the
  // bits of a row depend on how many there are, zeros stand for queries that have left.
  at::Tensor Fused(const Ragged& q, const Ragged& k, const Ragged& v, const Layout& keys,
                   const std::vector<int>& sequences, Visibility visibility) const {
    const Layout& layout = probe_.layout();
    const auto n = static_cast<int64_t>(sequences.size());
    at::Tensor queries = layout.Rows(q, sequences);
    const Span& span = layout.span(sequences.front());
    const int64_t behind = keys.span(sequences.front()).length - span.position - span.length;
    const bool is_filled =
        layout.numerics() == Numerics::kInvariant && (span.position > 0 || behind > 0);
    if (is_filled) {
      queries = at::constant_pad_nd(queries, {0, 0, 0, 0, span.position, behind});
      visibility.first_query = 0;
    }
    const at::Tensor mixed =
        FusedAttention(queries, keys.Rows(k, sequences), keys.Rows(v, sequences), n, visibility);
    return is_filled ? mixed.narrow(0, span.position, span.length) : mixed;
  }

  // Attention of each sequence to its own keys: [rows, head, d_head]. `keys` is the layout of k and
  // v.
  Ragged Attend(const Ragged& q, const Ragged& k, const Ragged& v, const Layout& keys) const {
    const Layout& layout = probe_.layout();
    const bool reference = layout.numerics() == Numerics::kReference;
    const bool looked_inside =
        probe_.Wants(Site::kAttnScores, layer_) || probe_.Wants(Site::kPattern, layer_);
    const auto visibility = [&](int sequence) {
      return Visibility{.window = at_.type == LayerType::kSliding ? config_.sliding_window : 0,
                        .first_query = layout.span(sequence).position};
    };
    if (layout.numerics() == Numerics::kFast && !looked_inside && layout.IsUniform() &&
        keys.IsUniform()) {
      return {FusedAttention(q[0], k[0], v[0], layout.n_sequences(), visibility(0))};
    }

    const size_t n = static_cast<size_t>(layout.n_sequences());
    std::vector<at::Tensor> mixed(n);
    // A sequence whose scores or pattern a hook wants is computed in steps, and visits the hook
    // point together with the others of that kind. The rest use the fused kernel, one call for each
    // group of equal lengths.
    std::vector<at::Tensor> patterns(n);
    std::vector<std::vector<int>> fused;
    // By number of queries, position of the first one, and number of keys.
    std::map<std::tuple<int64_t, int64_t, int64_t>, size_t> of_shape;
    for (int s = 0; s < layout.n_sequences(); ++s) {
      if (reference || probe_.Wants(Site::kAttnScores, layer_, s) ||
          probe_.Wants(Site::kPattern, layer_, s)) {
        probe_.Step();
        const at::Tensor rows_q = layout.Rows(q, s);
        const at::Tensor rows_k = keys.Rows(k, s);
        const at::Tensor visible =
            VisibleMask(rows_q.size(0), rows_k.size(0), visibility(s), rows_q.device());
        patterns[static_cast<size_t>(s)] =
            AttentionScores(rows_q, rows_k, visible);  // [head, pos, key_pos]
      } else {
        const Span& span = layout.span(s);
        const auto [group, is_new] = of_shape.emplace(
            std::tuple(span.length, span.position, keys.span(s).length), fused.size());
        if (is_new || layout.numerics() != Numerics::kFast) {
          group->second = fused.size();
          fused.emplace_back();
        }
        fused[group->second].push_back(s);
      }
    }
    for (const std::vector<int>& sequences : fused) {
      probe_.Step();
      const int64_t length = layout.span(sequences.front()).length;
      const at::Tensor together = Fused(q, k, v, keys, sequences, visibility(sequences.front()));
      for (size_t i = 0; i < sequences.size(); ++i) {
        mixed[static_cast<size_t>(sequences[i])] =
            together.narrow(0, static_cast<int64_t>(i) * length, length);
      }
    }
    probe_.VisitEach(Site::kAttnScores, layer_, patterns);
    for (at::Tensor& pattern : patterns) {
      if (pattern.defined()) pattern = AttentionPattern(pattern);
    }
    probe_.VisitEach(Site::kPattern, layer_, patterns);
    for (int s = 0; s < layout.n_sequences(); ++s) {
      const at::Tensor& pattern = patterns[static_cast<size_t>(s)];
      if (pattern.defined()) mixed[static_cast<size_t>(s)] = MixValues(pattern, keys.Rows(v, s));
    }
    return layout.Join(std::move(mixed));
  }

  // [rows, head, d_head] -> [rows, d_model].
  Ragged Output(Ragged z) const {
    z = Visit(Site::kOIn, std::move(z));
    Ragged out = Project(Map(z, [](const at::Tensor& part) { return part.flatten(1); }), weights_.o,
                         probe_.layout().numerics());
    if (probe_.Wants(Site::kResult, layer_))
      out = VisitHeadResults(weights_.o, layer_, z, std::move(out), probe_);
    return Visit(Site::kAttnOut, Visit(Site::kOOut, std::move(out)));
  }

  const Config& config_;
  const LayerWeights& weights_;
  const int layer_;
  const LayerConfig& at_;
  PassState& state_;
  const Probe& probe_;
};

}  // namespace

Ragged AttentionBlock(const Config& config, const LayerWeights& weights, int layer, Ragged& stream,
                      PassState& state, const Probe& probe) {
  return Attention(config, weights, layer, state, probe).Run(stream);
}

}  // namespace hookwire::model
