// A small run as the events that a server would send.
#ifndef HOOKWIRE_TESTS_E2E_SUPPORT_EVENTS_H_
#define HOOKWIRE_TESTS_E2E_SUPPORT_EVENTS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "hookwire/v1/service.pb.h"

namespace hookwire::e2e {

// Two float32 tensors of one hook point: [2] of sequence 0, [3] of sequence 1.
inline v1::RunResponse Accepted() {
  v1::RunResponse event;
  v1::Plan& plan = *event.mutable_accepted()->mutable_plan();
  plan.set_total_bytes(20);
  v1::TensorGroup& group = *plan.add_groups();
  group.set_source(v1::TensorGroup::SOURCE_CAPTURE);
  group.set_hook("blocks.0.hook_in");
  group.add_names("blocks.0.hook_resid_pre");
  group.set_dtype(v1::DTYPE_FLOAT32);
  for (uint32_t sequence : {0, 1}) {
    v1::PlannedTensor& tensor = *group.add_tensors();
    tensor.set_sequence(sequence);
    tensor.add_shape(2 + sequence);
  }
  return event;
}

inline std::string Floats(const std::vector<float>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)};
}

inline v1::RunResponse Chunk(uint32_t tensor, uint64_t offset, const std::string& data) {
  v1::RunResponse event;
  v1::TensorChunk& chunk = *event.mutable_tensors()->add_chunks();
  chunk.set_tensor(tensor);
  chunk.set_offset(offset);
  chunk.set_data(data);
  return event;
}

inline v1::RunResponse Receipt(uint64_t tensors = 2, uint64_t bytes = 20) {
  v1::RunResponse event;
  event.mutable_receipt()->set_tensors(tensors);
  event.mutable_receipt()->set_bytes(bytes);
  return event;
}

inline const std::string kFirst = Floats({1, 2});
inline const std::string kSecond = Floats({3, 4, 5});

}  // namespace hookwire::e2e

#endif  // HOOKWIRE_TESTS_E2E_SUPPORT_EVENTS_H_
