/// An image in memory, and which reader a file needs.
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "d2deploy/error.hpp"
#include "d2deploy/exif.hpp"
#include "d2deploy/file.hpp"
#include "d2deploy/jpeg.hpp"
#include "d2deploy/pixels.hpp"
#include "d2deploy/png.hpp"

namespace d2deploy {

namespace turning {

/// `image` so that the pixel at (row, column) is that of `source(row, column)`; rows and columns swapped where `swaps`.
template <typename Source>
Image moved(const Image& image, bool swaps, Source source) {
  Image out(swaps ? image.width : image.height, swaps ? image.height : image.width);
  for (int row = 0; row < out.height; ++row)
    for (int column = 0; column < out.width; ++column) {
      const auto [y, x] = source(row, column);
      for (int c = 0; c < 3; ++c) out.at(row, column)[c] = image.at(y, x)[c];
    }
  return out;
}

/// The image upright, by its EXIF 2.32 orientation (tag 274).
inline Image upright(const Image& image, int orientation) {
  const bool swaps = orientation >= 5;
  const bool from_right = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const bool from_bottom = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  return moved(image, swaps, [&](int row, int column) {
    const int y = swaps ? column : row, x = swaps ? row : column;
    return std::pair(from_bottom ? image.height - 1 - y : y, from_right ? image.width - 1 - x : x);
  });
}

}  // namespace turning

inline bool is_png(std::string_view bytes) { return bytes.substr(0, 8) == std::string_view("\x89PNG\r\n\x1a\n", 8); }
inline bool is_jpeg(std::string_view bytes) { return bytes.substr(0, 3) == std::string_view("\xff\xd8\xff", 3); }

/// The pixels of a PNG or JPEG file, in BGR, upright by its EXIF orientation, as src/d2deploy/image.py reads them.
///
/// Raises Error: missing, a folder, neither PNG nor JPEG, damaged, or of too many pixels (nothing is decoded then).
inline Image read_image(const fs::path& path) {
  const std::string name = path.string();
  if (!fs::exists(path)) throw Error(name + " does not exist. Check the path.");
  if (fs::is_directory(path)) throw Error(name + " is a folder. Give an image file.");
  // A file of another kind may be large, or a device without end.
  const std::string bytes = read_file(path, [](std::string_view start) { return is_png(start) || is_jpeg(start); });
  Decoded found;
  if (is_png(bytes))
    found = read_png(bytes, name);
  else if (is_jpeg(bytes))
    found = read_jpeg(bytes, name);
  else
    throw Error(name + " is neither a PNG nor a JPEG image. Convert it.");
  const int orientation = find_orientation(found.exif, found.xmp);
  return orientation > 1 ? turning::upright(found.image, orientation) : std::move(found.image);
}

}  // namespace d2deploy
