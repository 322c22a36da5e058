// Which rows of a pass are still needed, at each place where rows can leave it.
//
// A row is needed until the last hook point or output that reads it. Before a layer that makes keys
// and values, a row is also needed if a row behind it is, which attends to it.
#ifndef HOOKWIRE_MODEL_TEXT_NEEDED_ROWS_H_
#define HOOKWIRE_MODEL_TEXT_NEEDED_ROWS_H_

#include <vector>

#include "model/adapter/catalogue.h"
#include "model/config/config.h"
#include "model/tap/tap.h"
#include "model/text/ragged.h"

namespace hookwire::model {

// The places of a layer before which rows can leave the pass. Keys and values are made of the rows
// that enter the layer, whatever leaves before the queries.
enum class Place { kLayer, kQueries, kMlp };

class NeededRows {
 public:
  // All rows are needed to the end.
  NeededRows() = default;
  // What the tap says (Tap::ForEachRead). In `invariant`, rows are only left out where the bits of
  // the others do not depend on it: all enter a layer that makes keys and values, since the bits of
  // attention depend on the number of keys, and all stay for hook points that are computed by
  // operators whose bits depend on the number of rows.
  NeededRows(const Config& config, const Catalogue& catalogue, const Layout& layout,
             const Tap& tap);

  // Whether all rows of all sequences are needed to the end.
  bool are_all() const { return rows_.empty(); }
  // The rows of a sequence that are needed at this place or later; layer n_layers is the final
  // norm. REQUIRES: !are_all().
  RowRange At(int layer, Place place, int sequence) const {
    return rows_[static_cast<size_t>(sequence)][Index(layer, place)];
  }

  // Forgets all other sequences.
  void Keep(const std::vector<int>& sequences);

 private:
  static size_t Index(int layer, Place place);

  // By sequence, and by place in the order of the pass.
  std::vector<std::vector<RowRange>> rows_;
};

}  // namespace hookwire::model

#endif  // HOOKWIRE_MODEL_TEXT_NEEDED_ROWS_H_
