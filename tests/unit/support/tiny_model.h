// TextModels of tiny checkpoints. Header-only, so that tests that do not link model/ can use the
// rest of support/.
#ifndef HOOKWIRE_TESTS_UNIT_SUPPORT_TINY_MODEL_H_
#define HOOKWIRE_TESTS_UNIT_SUPPORT_TINY_MODEL_H_

#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>

#include "model/checkpoint/checkpoint.h"
#include "model/text/text_model.h"
#include "tests/unit/support/tiny_checkpoint.h"

namespace hookwire::testing {

// A new model. Its weights stay mapped after the checkpoint's directory is removed.
inline std::unique_ptr<const model::TextModel> MakeTinyModel(
    const TinyOptions& options = {}, const model::TextModel::Options& load = {}) {
  const TinyCheckpoint directory(options);
  auto checkpoint = model::Checkpoint::Open(directory.directory());
  if (!checkpoint.ok()) throw std::runtime_error(checkpoint.status().ToString());
  auto loaded = model::TextModel::Load(*std::move(checkpoint), load);
  if (!loaded.ok()) throw std::runtime_error(loaded.status().ToString());
  return *std::move(loaded);
}

// One model for each variant and dtype, made at the first call and kept until the process ends.
inline const model::TextModel& TinyModel(TinyVariant variant = TinyVariant::kEType,
                                         const std::string& dtype = "float32") {
  static auto* models =
      new std::map<std::pair<TinyVariant, std::string>, std::unique_ptr<const model::TextModel>>();
  auto& model = (*models)[{variant, dtype}];
  if (model == nullptr) {
    TinyOptions options;
    options.variant = variant;
    options.dtype = dtype;
    if (variant != TinyVariant::kEType) options.layers = "sfsf";
    model = MakeTinyModel(options);
  }
  return *model;
}

}  // namespace hookwire::testing

#endif  // HOOKWIRE_TESTS_UNIT_SUPPORT_TINY_MODEL_H_
