/// COCO's compressed run lengths of a mask: column by column, zeros first; each length less the one two before it
/// (from the fourth on), in groups of 5 bits, lowest first, bit 6 set when more follow, plus 48. The format of
/// pycocotools.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "d2deploy/json.hpp"
#include "d2deploy/result.hpp"

namespace d2deploy {

class RunLengths {
 public:
  void add(bool value, std::int64_t count) {
    if (count == 0) return;
    if (value != is_one_) {
      lengths_.push_back(0);
      is_one_ = value;
    }
    lengths_.back() += count;
  }

  std::string text() const {
    std::string out;
    for (std::size_t i = 0; i < lengths_.size(); ++i) append(out, lengths_[i] - (i > 2 ? lengths_[i - 2] : 0));
    return out;
  }

 private:
  static void append(std::string& out, std::int64_t number) {
    bool has_more = true;
    while (has_more) {
      const auto group = static_cast<int>(number & 0x1F);
      number >>= 5;
      has_more = number != (group & 0x10 ? -1 : 0);
      out += static_cast<char>((has_more ? group | 0x20 : group) + 48);
    }
  }

  std::vector<std::int64_t> lengths_{0};
  bool is_one_ = false;
};

/// {"size": [h, w], "counts": text} of a mask on an image.
inline Json encode_mask(const Mask& mask, Size image) {
  RunLengths runs;
  runs.add(false, std::int64_t{image.height} * mask.left);
  for (int x = 0; x < mask.width; ++x) {
    runs.add(false, mask.top);
    for (int y = 0; y < mask.height; ++y) runs.add(mask.row(y)[x], 1);
    runs.add(false, image.height - mask.top - mask.height);
  }
  runs.add(false, std::int64_t{image.height} * (image.width - mask.left - mask.width));
  return Json::Object{{"size", Json::Array{image.height, image.width}}, {"counts", runs.text()}};
}

}  // namespace d2deploy
