#include "client/cpp/src/run_decoder.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>

#include "hookwire/v1/service.pb.h"

namespace hookwire::client {
namespace {

using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedInputStream;

absl::Status Malformed() {
  return absl::DataLossError("the server sent a message that cannot be decoded");
}

// Calls field(tag) for each field up to the current limit. `field` reads the field's value, and
// returns OK or an error.
template <typename F>
absl::Status ForEachField(CodedInputStream& input, F&& field) {
  while (const uint32_t tag = input.ReadTag()) {
    if (absl::Status status = field(tag); !status.ok()) return status;
  }
  return input.ConsumedEntireMessage() ? absl::OkStatus() : Malformed();
}

absl::Status Skip(CodedInputStream& input, uint32_t tag) {
  return WireFormatLite::SkipField(&input, tag) ? absl::OkStatus() : Malformed();
}

// Reads a length, and calls body() with the input limited to that many bytes.
template <typename F>
absl::Status Delimited(CodedInputStream& input, F&& body) {
  int length;
  if (!input.ReadVarintSizeAsInt(&length)) return Malformed();
  const CodedInputStream::Limit outer = input.PushLimit(length);
  if (input.BytesUntilLimit() != length) return Malformed();
  if (absl::Status status = body(); !status.ok()) return status;
  if (input.BytesUntilLimit() != 0) return Malformed();
  input.PopLimit(outer);
  return absl::OkStatus();
}

template <typename Message>
absl::Status Parse(CodedInputStream& input, Message& message) {
  return Delimited(input, [&] {
    return message.ParseFromCodedStream(&input) && input.ConsumedEntireMessage() ? absl::OkStatus()
                                                                                 : Malformed();
  });
}

constexpr uint32_t Tag(int field, WireFormatLite::WireType type) {
  return static_cast<uint32_t>(field) << 3U | static_cast<uint32_t>(type);
}
constexpr uint32_t VarintTag(int field) { return Tag(field, WireFormatLite::WIRETYPE_VARINT); }
constexpr uint32_t BytesTag(int field) {
  return Tag(field, WireFormatLite::WIRETYPE_LENGTH_DELIMITED);
}

// hookwire.v1.TensorChunk. The number and the offset must come before the bytes, as the server's
// encoder and every protobuf library write them.
absl::Status DecodeChunk(CodedInputStream& input, RunAssembler& assembler) {
  uint32_t tensor = 0;
  uint64_t offset = 0;
  bool filled = false;
  absl::Status status = ForEachField(input, [&](uint32_t tag) -> absl::Status {
    switch (tag) {
      case VarintTag(v1::TensorChunk::kTensorFieldNumber):
        return !filled && input.ReadVarint32(&tensor) ? absl::OkStatus() : Malformed();
      case VarintTag(v1::TensorChunk::kOffsetFieldNumber):
        return !filled && input.ReadVarint64(&offset) ? absl::OkStatus() : Malformed();
      case BytesTag(v1::TensorChunk::kDataFieldNumber): {
        int size;
        if (filled || !input.ReadVarintSizeAsInt(&size) || size > input.BytesUntilLimit()) {
          return Malformed();
        }
        auto place = assembler.Place(tensor, offset, static_cast<uint64_t>(size));
        if (!place.ok()) return place.status();
        filled = true;
        return size == 0 || input.ReadRaw(place->data(), size) ? absl::OkStatus() : Malformed();
      }
      default:
        return Skip(input, tag);
    }
  });
  if (!status.ok()) return status;
  // Only a tensor without elements has a chunk without bytes.
  if (!filled) {
    if (auto place = assembler.Place(tensor, offset, 0); !place.ok()) return place.status();
  }
  return assembler.Filled(tensor);
}

absl::Status DecodeChunks(CodedInputStream& input, RunAssembler& assembler) {
  return ForEachField(input, [&](uint32_t tag) {
    if (tag != BytesTag(v1::TensorChunks::kChunksFieldNumber)) return Skip(input, tag);
    return Delimited(input, [&] { return DecodeChunk(input, assembler); });
  });
}

}  // namespace

absl::Status DecodeRunResponse(google::protobuf::io::ZeroCopyInputStream& message,
                               RunAssembler& assembler) {
  CodedInputStream input(&message);
  return ForEachField(input, [&](uint32_t tag) -> absl::Status {
    switch (tag) {
      case BytesTag(v1::RunResponse::kAcceptedFieldNumber): {
        v1::Accepted accepted;
        if (absl::Status status = Parse(input, accepted); !status.ok()) return status;
        return assembler.Accept(accepted);
      }
      case BytesTag(v1::RunResponse::kTensorsFieldNumber):
        return Delimited(input, [&] { return DecodeChunks(input, assembler); });
      case BytesTag(v1::RunResponse::kProgressFieldNumber): {
        v1::Progress progress;
        if (absl::Status status = Parse(input, progress); !status.ok()) return status;
        return assembler.Progress(progress);
      }
      case BytesTag(v1::RunResponse::kReceiptFieldNumber): {
        v1::Receipt receipt;
        if (absl::Status status = Parse(input, receipt); !status.ok()) return status;
        return assembler.Finish(std::move(receipt));
      }
      default:
        return Skip(input, tag);
    }
  });
}

}  // namespace hookwire::client
