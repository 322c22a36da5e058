// One RunResponse off the wire.
//
// Reads the protobuf encoding itself, so that a tensor's bytes go straight from the received
// slices to where the tensor lies: one copy. Everything else is parsed by the generated code.
#ifndef HOOKWIRE_CLIENT_CPP_SRC_RUN_DECODER_H_
#define HOOKWIRE_CLIENT_CPP_SRC_RUN_DECODER_H_

#include <google/protobuf/io/zero_copy_stream.h>

#include "absl/status/status.h"
#include "client/cpp/src/run_assembler.h"

namespace hookwire::client {

// Gives the events in `message` to `assembler`. Events and fields that this client does not know
// are passed over. DATA_LOSS where the bytes are no RunResponse; else what the assembler said.
absl::Status DecodeRunResponse(google::protobuf::io::ZeroCopyInputStream& message,
                               RunAssembler& assembler);

}  // namespace hookwire::client

#endif  // HOOKWIRE_CLIENT_CPP_SRC_RUN_DECODER_H_
