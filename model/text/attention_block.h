// A layer's attention, from the residual stream to the output projection, with every hook point in
// it.
#ifndef HOOKWIRE_MODEL_TEXT_ATTENTION_BLOCK_H_
#define HOOKWIRE_MODEL_TEXT_ATTENTION_BLOCK_H_

#include "model/config/config.h"
#include "model/text/pass_state.h"
#include "model/text/probe.h"
#include "model/text/weights.h"

namespace hookwire::model {

// stream [rows, d_model] -> the attention's output before ln1_post, [rows, d_model]. Rows that
// nothing needs behind this layer's keys leave the stream and the state. Where later layers use
// this layer's keys and values, stores them in state.shared_key_values.
Ragged AttentionBlock(const Config& config, const LayerWeights& weights, int layer, Ragged& stream,
                      PassState& state, const Probe& probe);

}  // namespace hookwire::model

#endif  // HOOKWIRE_MODEL_TEXT_ATTENTION_BLOCK_H_
