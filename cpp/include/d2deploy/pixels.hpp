/// An image's pixels.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "d2deploy/error.hpp"

namespace d2deploy {

/// uint8 [height, width, 3], row by row; BGR unless said otherwise.
struct Image {
  int height = 0, width = 0;
  std::vector<std::uint8_t> pixels;

  Image() = default;
  Image(int height, int width) : height(height), width(width), pixels(std::size_t(height) * width * 3) {}

  std::uint8_t* at(int y, int x) { return pixels.data() + offset(y, x); }
  const std::uint8_t* at(int y, int x) const { return pixels.data() + offset(y, x); }

 private:
  std::size_t offset(int y, int x) const { return (std::size_t(y) * width + x) * 3; }
};

/// An image file's content: BGR pixels as they lie in it, and what it says about itself.
struct Decoded {
  Image image;
  std::string exif;  // TIFF, from its byte order mark on
  std::string xmp;
};

/// Largest image that is decoded; Pillow's limit, as in src/d2deploy/image.py.
constexpr long long MAX_PIXELS = 89'478'485;

/// Raises Error when an image is too large to decode.
inline void check_size(long long width, long long height, const std::string& name) {
  if (width * height > MAX_PIXELS)
    throw Error(name + " is too large to decode: " + std::to_string(width) + " x " + std::to_string(height) +
                " pixels; the limit is " + std::to_string(MAX_PIXELS) + ". Shrink it first.");
}

}  // namespace d2deploy
