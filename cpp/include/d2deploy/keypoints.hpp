/// From keypoint heatmaps to points in image pixels. The rule of src/d2deploy/postprocess/keypoints.py.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include "d2deploy/error.hpp"
#include "d2deploy/result.hpp"

namespace d2deploy {

namespace heatmaps {

/// Four cells around a pixel and their weights: bicubic (a = -0.75), borders repeated, pixel centres at half.
struct Taps {
  int cells[4];
  float weights[4];
};

inline std::vector<Taps> bicubic(int pixels, int cells) {
  std::vector<Taps> taps(pixels);
  for (int pixel = 0; pixel < pixels; ++pixel) {
    const double position = (pixel + 0.5) * (static_cast<double>(cells) / pixels) - 0.5;
    const int base = static_cast<int>(std::floor(position));
    for (int i = 0; i < 4; ++i) {
      const double d = std::abs(position - (base + i - 1));
      const double near = (1.25 * d - 2.25) * d * d + 1, far = -0.75 * (((d - 5) * d + 8) * d - 4);
      taps[pixel].cells[i] = std::clamp(base + i - 1, 0, cells - 1);
      taps[pixel].weights[i] = static_cast<float>(d <= 1 ? near : far);
    }
  }
  return taps;
}

inline float mix(const Taps& taps, const float* line, int stride) {
  float sum = 0;
  for (int i = 0; i < 4; ++i) sum += taps.weights[i] * line[taps.cells[i] * stride];
  return sum;
}

struct Peak {
  int row = 0, column = 0;
  float height = -INFINITY;
};

/// The highest pixel, the first of equals, of a map [side, side] enlarged by `rows` and `columns`.
inline Peak find_peak(const float* map, int side, const std::vector<Taps>& rows, const std::vector<Taps>& columns) {
  Peak peak;
  std::vector<float> line(side);
  for (std::size_t row = 0; row < rows.size(); ++row) {
    for (int cell = 0; cell < side; ++cell) line[cell] = mix(rows[row], map + cell, side);
    for (std::size_t column = 0; column < columns.size(); ++column)
      if (const float height = mix(columns[column], line.data(), 1); height > peak.height)
        peak = {static_cast<int>(row), static_cast<int>(column), height};
  }
  return peak;
}

}  // namespace heatmaps

/// Where each of `count` heatmaps [count, side, side] (logits) in `box` (network-input pixels) peaks.
///
/// The map is enlarged to the box's whole pixels, and the middle of its highest pixel taken. The score is that height's
/// share of a softmax over the map, which it does not belong to; so it can be above 1. Not clipped to the image.
inline std::vector<Keypoint> find_keypoints(const float* maps, int count, int side, const float* box) {
  const float width = std::max(box[2] - box[0], 1.0F), height = std::max(box[3] - box[1], 1.0F);
  if (!(width < 1e6F && height < 1e6F)) throw Error("The model gave a box larger than any image. Export again.");
  const auto rows = heatmaps::bicubic(static_cast<int>(std::ceil(height)), side);
  const auto columns = heatmaps::bicubic(static_cast<int>(std::ceil(width)), side);
  const double row_pixels = height / static_cast<float>(rows.size());
  const double column_pixels = width / static_cast<float>(columns.size());
  std::vector<Keypoint> found;
  for (int k = 0; k < count; ++k, maps += side * side) {
    const auto peak = heatmaps::find_peak(maps, side, rows, columns);
    double sum = 0;
    for (int i = 0; i < side * side; ++i) sum += std::exp(maps[i] - peak.height);
    found.push_back({static_cast<float>(box[0] + (peak.column + 0.5) * column_pixels),
                     static_cast<float>(box[1] + (peak.row + 0.5) * row_pixels), static_cast<float>(1 / sum)});
  }
  return found;
}

}  // namespace d2deploy
