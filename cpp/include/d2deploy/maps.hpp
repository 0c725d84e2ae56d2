/// Maps of scores from one image size to another, a row at a time. The rule of src/d2deploy/results/resize.py: bilinear
/// interpolation of pixel centres, borders repeated, nothing averaged when it shrinks; in float32, in the same order.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "d2deploy/result.hpp"

namespace d2deploy {

/// Maps float32 [count, ...] of which the top left `size` counts; what lies beyond it is padding.
struct Maps {
  const float* data;
  int count;
  Size size;
  Size padded;

  const float* row(int map, int y) const { return data + (std::size_t(map) * padded.height + y) * padded.width; }
};

class EnlargedMaps {
 public:
  EnlargedMaps(Maps maps, Size size)
      : maps_(maps),
        size_(size),
        rows_(neighbours(maps.size.height, size.height)),
        columns_(neighbours(maps.size.width, size.width)),
        line_(maps.size.width) {}

  int count() const { return maps_.count; }

  /// Row `y` of map `map` in the new size, into `out` [width].
  void row(int map, int y, float* out) {
    const Neighbours rows = rows_[y];
    const float *above = maps_.row(map, rows.before), *below = maps_.row(map, rows.after);
    if (size_ == maps_.size) {
      std::copy_n(above, size_.width, out);
      return;
    }
    for (std::size_t i = 0; i < line_.size(); ++i) line_[i] = mix(above[i], below[i], rows.way);
    for (const Neighbours& n : columns_) *out++ = mix(line_[n.before], line_[n.after], n.way);
  }

  /// One pixel of a map in the new size.
  float at(int map, int y, int x) const {
    const Neighbours rows = rows_[y], columns = columns_[x];
    const float *above = maps_.row(map, rows.before), *below = maps_.row(map, rows.after);
    const auto down = [&](int cell) { return mix(above[cell], below[cell], rows.way); };
    return mix(down(columns.before), down(columns.after), columns.way);
  }

 private:
  struct Neighbours {
    int before, after;
    float way;  // 0..1 from the one to the other
  };

  static std::vector<Neighbours> neighbours(int cells, int pixels) {
    std::vector<Neighbours> found;
    const auto scale = static_cast<float>(static_cast<double>(cells) / pixels);
    for (int pixel = 0; pixel < pixels; ++pixel) {
      const float position = std::max((static_cast<float>(pixel) + 0.5F) * scale - 0.5F, 0.0F);
      const int before = std::min(static_cast<int>(position), cells - 1);
      found.push_back({before, std::min(before + 1, cells - 1), position - static_cast<float>(before)});
    }
    return found;
  }

  static float mix(float before, float after, float way) { return before + (after - before) * way; }

  Maps maps_;
  Size size_;
  std::vector<Neighbours> rows_, columns_;
  std::vector<float> line_;
};

/// All rows of a map in a new size: float32 [height, width].
inline std::vector<float> enlarge(const Maps& maps, int map, Size size) {
  EnlargedMaps enlarged(maps, size);
  std::vector<float> out(std::size_t(size.height) * size.width);
  for (int y = 0; y < size.height; ++y) enlarged.row(map, y, &out[std::size_t(y) * size.width]);
  return out;
}

/// The class of each pixel in a new size: the map that is highest, the first of equals.
inline Labels find_labels(const Maps& maps, Size size) {
  EnlargedMaps enlarged(maps, size);
  Labels labels(size);
  std::vector<float> best(size.width), row(best.size());
  for (int y = 0; y < size.height; ++y) {
    enlarged.row(0, y, best.data());
    for (int map = 1; map < maps.count; ++map) {
      enlarged.row(map, y, row.data());
      for (std::size_t x = 0; x < row.size(); ++x)
        if (row[x] > best[x]) {
          best[x] = row[x];
          labels.row(y)[x] = map;
        }
    }
  }
  return labels;
}

}  // namespace d2deploy
