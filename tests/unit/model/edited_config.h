// config.json texts of tiny checkpoints with something changed in them.
#ifndef HOOKWIRE_TESTS_UNIT_MODEL_EDITED_CONFIG_H_
#define HOOKWIRE_TESTS_UNIT_MODEL_EDITED_CONFIG_H_

#include <functional>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>

#include "model/config/config.h"
#include "tests/unit/support/tiny_checkpoint.h"

namespace hookwire::testing {

using ConfigEdit = std::function<void(nlohmann::json& root, nlohmann::json& text)>;

// `edit` sees the whole file and the text model's part of it.
inline std::string EditedConfig(const TinyOptions& options, const ConfigEdit& edit) {
  nlohmann::json root = nlohmann::json::parse(TinyConfigJson(options));
  edit(root, root["text_config"]);
  return root.dump();
}

// The text model's part alone, as a text-only checkpoint has it.
inline std::string TextOnlyConfig(const TinyOptions& options) {
  return nlohmann::json::parse(TinyConfigJson(options))["text_config"].dump();
}

inline model::Config MustParse(const std::string& json) {
  auto config = model::ParseConfig(json);
  if (!config.ok()) throw std::runtime_error(config.status().ToString());
  return *std::move(config);
}

// What config.json says of a tiny checkpoint.
inline model::Config TinyConfig(const TinyOptions& options) {
  return MustParse(TinyConfigJson(options));
}

}  // namespace hookwire::testing

#endif  // HOOKWIRE_TESTS_UNIT_MODEL_EDITED_CONFIG_H_
