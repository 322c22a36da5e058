// The model and the server, as GetModel describes them.
#ifndef HOOKWIRE_SERVER_RPC_DESCRIBE_MODEL_H_
#define HOOKWIRE_SERVER_RPC_DESCRIBE_MODEL_H_

#include <ATen/core/Tensor.h>

#include <string>
#include <string_view>
#include <vector>

#include "hookwire/v1/model.pb.h"
#include "model/adapter/catalogue.h"
#include "model/config/config.h"
#include "model/numerics.h"

namespace hookwire::server {

// Facts about a model that are not in its config.
struct ModelFacts {
  // The checkpoint directory's name.
  std::string name;
  // One for each layer.
  std::vector<double> layer_scalars;
  int64_t n_params = 0;
  // Names of the tensors that the text path does not read, sorted.
  std::vector<std::string> unread_tensors = {};
};

// Everything but the weights digest, which may still be pending.
v1::Model DescribeModel(const model::Config& config, const ModelFacts& facts);

v1::Numerics ToWire(model::Numerics numerics);

// A hook point of a model that computes in `compute`.
v1::HookPoint DescribeHook(const model::HookPoint& point, at::ScalarType compute);

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_RPC_DESCRIBE_MODEL_H_
