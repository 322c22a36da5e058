// One decoder layer, with every hook point in it.
#ifndef HOOKWIRE_MODEL_TEXT_DECODER_LAYER_H_
#define HOOKWIRE_MODEL_TEXT_DECODER_LAYER_H_

#include "model/config/config.h"
#include "model/text/pass_state.h"
#include "model/text/probe.h"
#include "model/text/weights.h"

namespace hookwire::model {

// Runs layer `layer` of the model on state.hidden. Where later layers use its keys and values,
// stores them in the state. Throws what libtorch throws, and PassEnded.
void RunDecoderLayer(const Config& config, const LayerWeights& weights, int layer, PassState& state,
                     const Probe& probe);

// RmsNorm with its four hook points: `in` is the Site of hook_in, and hook_scale, hook_normalized
// and hook_out are the next three in Site. An undefined weight means 1.
Ragged HookedNorm(const Config& config, const at::Tensor& weight, Site in, int layer, Ragged x,
                  const Probe& probe);

}  // namespace hookwire::model

#endif  // HOOKWIRE_MODEL_TEXT_DECODER_LAYER_H_
