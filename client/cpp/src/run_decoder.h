// Decodes one RunResponse.
//
// Reads the protobuf encoding itself, so that a tensor's bytes are copied once, from the received
// slices to the tensor's memory. Everything else is parsed by the generated code.
#ifndef HOOKWIRE_CLIENT_CPP_SRC_RUN_DECODER_H_
#define HOOKWIRE_CLIENT_CPP_SRC_RUN_DECODER_H_

#include <google/protobuf/io/zero_copy_stream.h>

#include "absl/status/status.h"
#include "client/cpp/src/run_assembler.h"

namespace hookwire::client {

// Passes the events in `message` to `assembler`. Events and fields that this client does not know
// are ignored. DATA_LOSS if the bytes are not a RunResponse, or an error of the assembler.
absl::Status DecodeRunResponse(google::protobuf::io::ZeroCopyInputStream& message,
                               RunAssembler& assembler);

}  // namespace hookwire::client

#endif  // HOOKWIRE_CLIENT_CPP_SRC_RUN_DECODER_H_
