/// Pillow's bilinear filter on 8-bit images, bit for bit, and detectron2's rule for the new size.
///
/// Facts: Pillow's Resample.c and src/d2deploy/image.py. When it shrinks, a pixel is the average, weighted by a
/// triangle, of all that it covers. Weights are whole numbers, 2^22 to the unit; one axis after the other, rounded to
/// 8 bits between.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "d2deploy/manifest.hpp"
#include "d2deploy/pixels.hpp"

namespace d2deploy {

struct Size {
  int height, width;
  bool operator==(const Size& other) const { return height == other.height && width == other.width; }
};

namespace resizing {

constexpr int PRECISION = 22;

/// What one pixel of an axis is made of: weights of old pixels, from `first` on.
struct Window {
  int first;
  std::vector<std::int32_t> weights;
};

inline Window window(int pixel, int from, int to) {
  const double scale = static_cast<double>(from) / to, reach = std::max(scale, 1.0), step = 1.0 / reach;
  const double center = (pixel + 0.5) * scale;
  const int first = std::max(0, static_cast<int>(center - reach + 0.5));
  const int last = std::min(from, static_cast<int>(center + reach + 0.5));
  std::vector<double> shares;
  double sum = 0;
  for (int i = 0; i < last - first; ++i) {
    shares.push_back(std::max(0.0, 1.0 - std::abs((i + first - center + 0.5) * step)));
    sum += shares.back();
  }
  Window made{first, {}};
  for (double share : shares)
    made.weights.push_back(static_cast<std::int32_t>(0.5 + (sum != 0 ? share / sum : share) * (1 << PRECISION)));
  return made;
}

inline std::vector<Window> windows(int from, int to) {
  std::vector<Window> made;
  for (int pixel = 0; pixel < to; ++pixel) made.push_back(window(pixel, from, to));
  return made;
}

/// The weighted sum of the 3-channel pixels from `in` on, `stride` bytes apart.
inline void mix(const Window& window, const std::uint8_t* in, std::size_t stride, std::uint8_t* out) {
  std::int32_t sums[3] = {1 << (PRECISION - 1), 1 << (PRECISION - 1), 1 << (PRECISION - 1)};
  in += std::size_t(window.first) * stride;
  for (const std::int32_t weight : window.weights) {
    for (int c = 0; c < 3; ++c) sums[c] += weight * in[c];
    in += stride;
  }
  for (int c = 0; c < 3; ++c) out[c] = static_cast<std::uint8_t>(std::clamp(sums[c] >> PRECISION, 0, 255));
}

inline Image across(const Image& image, int width) {
  Image out(image.height, width);
  const auto columns = windows(image.width, width);
  for (int y = 0; y < out.height; ++y)
    for (int x = 0; x < width; ++x) mix(columns[x], image.at(y, 0), 3, out.at(y, x));
  return out;
}

inline Image down(const Image& image, int height) {
  Image out(height, image.width);
  const auto rows = windows(image.height, height);
  const std::size_t stride = std::size_t(image.width) * 3;
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < out.width; ++x) mix(rows[y], image.at(0, x), stride, out.at(y, x));
  return out;
}

}  // namespace resizing

/// `image` in another size. Always the width first, as src/d2deploy/image.py and graphs with resizing inside.
inline Image resize(Image image, Size size) {
  if (size.width != image.width) image = resizing::across(image, size.width);
  if (size.height != image.height) image = resizing::down(image, size.height);
  return image;
}

/// The size after detectron2's short-edge rule: the shorter edge becomes min_size, unless the longer one would pass
/// max_size, which it then becomes. Computed in floats and rounded once, half up; no edge becomes less than 1.
inline Size resized_shape(Size size, const Preprocess& rule) {
  if (rule.min_size == 0) return size;
  const double wanted = static_cast<double>(rule.min_size), limit = static_cast<double>(rule.max_size);
  const double scale = wanted / std::min(size.height, size.width);
  double height = size.height < size.width ? wanted : scale * size.height;
  double width = size.height < size.width ? scale * size.width : wanted;
  if (const double longer = std::max(height, width); longer > limit) {
    const double shrink = limit / longer;
    height *= shrink, width *= shrink;
  }
  return {std::max(1, static_cast<int>(height + 0.5)), std::max(1, static_cast<int>(width + 0.5))};
}

}  // namespace d2deploy
