/// From a mask in a box to a mask on the image. The rule of src/d2deploy/postprocess/masks.py.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include "d2deploy/result.hpp"

namespace d2deploy {

constexpr float MASK_THRESHOLD = 0.5F;

namespace masks {

/// The pixels of one axis that a box side covers, and where between the box's cells each of them lies.
struct Axis {
  int first = 0;
  std::vector<int> before;     // the cell before a pixel's centre; -1: none
  std::vector<float> to_here;  // weight of that cell
  std::vector<float> to_next;  // ... and of the one after it
  int count() const { return static_cast<int>(before.size()); }
};

inline Axis interpolation(double low, double high, int pixels, int cells) {
  Axis axis;
  axis.first = static_cast<int>(std::clamp(low, 0.0, static_cast<double>(pixels)));
  const int last =
      static_cast<int>(std::clamp(std::ceil(high), static_cast<double>(axis.first), static_cast<double>(pixels)));
  for (int pixel = axis.first; pixel < last; ++pixel) {
    const double position = (pixel + 0.5 - low) * (cells / (high - low)) - 0.5;
    const auto cell = static_cast<int>(std::clamp(std::floor(position), -1.0, static_cast<double>(cells)));
    axis.before.push_back(cell);
    const bool has_here = cell >= 0 && cell < cells, has_next = cell + 1 < cells;
    axis.to_here.push_back(has_here ? static_cast<float>(std::max(0.0, 1 - std::abs(position - cell))) : 0);
    axis.to_next.push_back(has_next ? static_cast<float>(std::max(0.0, 1 - std::abs(position - cell - 1))) : 0);
  }
  return axis;
}

/// The two cells of `line` that lie around a pixel, mixed.
inline float mix(const Axis& axis, int i, const float* line, int cells, int stride) {
  const int cell = axis.before[i];
  const float here = axis.to_here[i] == 0 ? 0 : axis.to_here[i] * line[cell * stride];
  return cell + 1 >= cells || axis.to_next[i] == 0 ? here : here + axis.to_next[i] * line[(cell + 1) * stride];
}

}  // namespace masks

/// The mask on the image, from `probs` [side, side] that lie in `box`, original pixels.
///
/// Each pixel reads, at its centre, the bilinear interpolation of the box's cells; set where that is at least 0.5.
/// A box without area, or with a number that is not finite, gives an empty mask.
inline Mask paste_mask(const float* probs, int side, const std::vector<float>& box, Size image) {
  const bool is_finite = std::all_of(box.begin(), box.end(), [](float edge) { return std::isfinite(edge); });
  if (!is_finite || !(box[0] < box[2] && box[1] < box[3])) return {};
  const auto rows = masks::interpolation(box[1], box[3], image.height, side);
  const auto columns = masks::interpolation(box[0], box[2], image.width, side);
  Mask mask(rows.first, columns.first, rows.count(), columns.count());
  std::vector<float> line(side);
  for (int y = 0; y < mask.height; ++y) {
    for (int cell = 0; cell < side; ++cell) line[cell] = masks::mix(rows, y, probs + cell, side, side);
    for (int x = 0; x < mask.width; ++x)
      mask.row(y)[x] = masks::mix(columns, x, line.data(), side, 1) >= MASK_THRESHOLD;
  }
  return mask;
}

}  // namespace d2deploy
