// Ways to spoil bytes. The result depends on the input and the generator's state alone.
#ifndef HOOKWIRE_TESTS_FUZZ_MUTATE_H_
#define HOOKWIRE_TESTS_FUZZ_MUTATE_H_

#include <cstdint>
#include <random>
#include <string>

namespace hookwire::fuzz {

// std::mt19937 gives the same numbers everywhere; the standard distributions do not.
using Random = std::mt19937;

// 0 … n - 1. REQUIRES: n > 0.
inline size_t Below(Random& random, size_t n) { return random() % n; }

// One of: flips bits, cuts the end off, repeats, removes or moves a piece, overwrites a piece with
// an extreme number.
std::string MutateBytes(std::string bytes, Random& random);

// The same for one field of a serialized message, one or two messages deep, with the lengths around
// it put right: duplicates, removes or moves it, spoils what is in it, gives it another number or
// makes its varint huge. Bytes that are no message come back through MutateBytes.
std::string MutateFields(const std::string& message, Random& random);

}  // namespace hookwire::fuzz

#endif  // HOOKWIRE_TESTS_FUZZ_MUTATE_H_
