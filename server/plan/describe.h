// Describes a plan to clients: the names of its outputs, and the plan as a message.
#ifndef HOOKWIRE_SERVER_PLAN_DESCRIBE_H_
#define HOOKWIRE_SERVER_PLAN_DESCRIBE_H_

#include "hookwire/v1/run.pb.h"
#include "model/text/text_model.h"
#include "server/plan/run_plan.h"

namespace hookwire::server {

// "logits", "log_probs" or "residual".
const char* OutputName(v1::TensorGroup::Source source);

v1::Axis::Kind ToWire(model::AxisKind kind);

// Writes the plan into an empty message.
void DescribePlan(const RunPlan& plan, const model::TextModel& model, v1::Plan& description);

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_PLAN_DESCRIBE_H_
