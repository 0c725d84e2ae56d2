/// Centres of things in a heat map, and which of them each pixel points to: the first half of Panoptic-DeepLab. The
/// rules of src/d2deploy/postprocess/centers.py.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "d2deploy/manifest.hpp"
#include "d2deploy/result.hpp"

namespace d2deploy {

struct Center {
  int y, x;
};

namespace centers {

/// The highest of the `window` (odd) values around each of `count` values that lie `stride` apart, in place.
inline void spread_highest(float* values, int count, std::size_t stride, int window) {
  std::vector<float> line(count);
  for (int i = 0; i < count; ++i) line[i] = values[std::size_t(i) * stride];
  for (int i = 0; i < count; ++i) {
    const auto first = line.begin() + std::max(0, i - window / 2);
    const auto last = line.begin() + std::min(count, i - window / 2 + window);
    values[std::size_t(i) * stride] = *std::max_element(first, last);
  }
}

inline std::vector<float> spread_highest(std::vector<float> map, Size size, int window) {
  const std::size_t width = size.width;
  for (int y = 0; y < size.height; ++y) spread_highest(&map[y * width], size.width, 1, window);
  for (std::size_t x = 0; x < width; ++x) spread_highest(&map[x], size.height, width, window);
  return map;
}

}  // namespace centers

/// Row by row: where `heatmap` [height, width] is high, and highest within nms_kernel pixels. The top_k-th best and
/// what equals it are left out.
inline std::vector<Center> find_centers(const std::vector<float>& heatmap, Size size, const PanopticDeepLabRule& rule) {
  const auto highest = centers::spread_highest(heatmap, size, static_cast<int>(rule.nms_kernel));
  const float threshold = static_cast<float>(std::max(rule.center_threshold, 0.0));
  std::vector<std::size_t> peaks;
  std::vector<float> heights;
  for (std::size_t i = 0; i < heatmap.size(); ++i)
    if (heatmap[i] == highest[i] && heatmap[i] > threshold) {
      peaks.push_back(i);
      heights.push_back(heatmap[i]);
    }
  float lowest = -INFINITY;
  if (const auto top_k = std::size_t(rule.top_k); heights.size() >= top_k) {
    std::nth_element(heights.begin(), heights.begin() + static_cast<std::ptrdiff_t>(top_k - 1), heights.end(),
                     std::greater<>());
    lowest = heights[top_k - 1];
  }
  std::vector<Center> found;
  const std::size_t width = size.width;
  for (const std::size_t i : peaks)
    if (heatmap[i] > lowest) found.push_back({static_cast<int>(i / width), static_cast<int>(i % width)});
  return found;
}

/// The number, from 1, of the centre nearest to a point, the first of equals.
inline std::int32_t find_nearest(float y, float x, const std::vector<Center>& centers) {
  std::size_t best = 0;
  float shortest = INFINITY;
  for (std::size_t i = 0; i < centers.size(); ++i) {
    const float down = y - static_cast<float>(centers[i].y), across = x - static_cast<float>(centers[i].x);
    if (const float distance = down * down + across * across; distance < shortest) {
      shortest = distance;
      best = i;
    }
  }
  return static_cast<std::int32_t>(best + 1);
}

}  // namespace d2deploy
