// The hook catalogue written out by hand from its specification, independent of the site table
// that the catalogue is derived from.
#ifndef HOOKWIRE_TESTS_UNIT_MODEL_EXPECTED_HOOKS_H_
#define HOOKWIRE_TESTS_UNIT_MODEL_EXPECTED_HOOKS_H_

#include <string>
#include <vector>

#include "model/adapter/catalogue.h"
#include "model/config/config.h"

namespace hookwire::testing {

struct ExpectedHook {
  std::string name;
  // As AxesText writes them: "pos d_model=32".
  std::string axes;
  std::vector<std::string> aliases;
  model::HookDtype dtype;
  bool writable;
  // Module in the checkpoint.
  std::string module;
};

// All hook points of a model, in no particular order.
std::vector<ExpectedHook> ExpectedHooks(const model::Config& config);

// Axis names, with their sizes where they do not depend on the sequence.
std::string AxesText(const std::vector<model::Axis>& axes);

}  // namespace hookwire::testing

#endif  // HOOKWIRE_TESTS_UNIT_MODEL_EXPECTED_HOOKS_H_
