// The table of ops, held against the protocol.
#include "server/plan/ops.h"

#include <google/protobuf/descriptor.h>

#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace hookwire::server {
namespace {

// Intervention's fields for ops.
std::vector<const google::protobuf::FieldDescriptor*> OpsOfTheProtocol() {
  const auto* const oneof = v1::Intervention::descriptor()->FindOneofByName("op");
  std::vector<const google::protobuf::FieldDescriptor*> ops;
  for (int i = 0; i < oneof->field_count(); ++i) ops.push_back(oneof->field(i));
  return ops;
}

TEST(Ops, EachOpOfTheProtocolHasARow) {
  std::vector<std::string> of_protocol;
  for (const auto* field : OpsOfTheProtocol()) of_protocol.push_back(field->name());
  std::vector<std::string> of_table;
  for (const Op& op : kOps) of_table.emplace_back(OpName(op));
  EXPECT_EQ(of_table, of_protocol);
}

TEST(Ops, ARowNamesTheValueThatItsOpSends) {
  for (const auto* field : OpsOfTheProtocol()) {
    std::vector<std::string> of_protocol;
    for (int i = 0; i < field->message_type()->field_count(); ++i) {
      const auto* const part = field->message_type()->field(i);
      if (part->message_type() == v1::Value::descriptor()) of_protocol.push_back(part->name());
    }
    const Op* const op = FindOp(static_cast<OpKind>(field->number()));
    ASSERT_NE(op, nullptr) << field->name();
    std::vector<std::string> of_row;
    if (op->value != Op::kNoValue) of_row.emplace_back(ValueName(*op));
    EXPECT_EQ(of_row, of_protocol) << field->name();
  }
}

TEST(Ops, AnOpWithoutARowIsNotFound) {
  EXPECT_EQ(FindOp(v1::Intervention::OP_NOT_SET), nullptr);
  EXPECT_EQ(SentValue(v1::Intervention()), nullptr);
}

TEST(Ops, TheValueOfAnOpIsReadAndChangedInItsMessage) {
  v1::Intervention scale;
  EXPECT_EQ(MutableSentValue(scale), nullptr);
  scale.mutable_scale();
  EXPECT_EQ(SentValue(scale)->kind_case(), v1::Value::KIND_NOT_SET);
  EXPECT_FALSE(scale.scale().has_factor());
  MutableSentValue(scale)->set_scalar(2);
  EXPECT_EQ(scale.scale().factor().scalar(), 2);
  EXPECT_EQ(SentValue(scale), &scale.scale().factor());
}

}  // namespace
}  // namespace hookwire::server
