/// Which way up an image is: the tag 274 of its EXIF block (a TIFF: version 6.0, section 2), else of its XMP text.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace d2deploy {

class Tiff {
 public:
  explicit Tiff(std::string_view bytes) : bytes_(bytes), is_big_(bytes.substr(0, 2) == "MM") {}

  /// The orientation in the first directory; 0: none, or nothing that can be read.
  int orientation() const {
    if (number(2, 2) != 42) return 0;
    const std::uint64_t start = number(4, 4), count = number(start, 2);
    for (std::uint64_t entry = start + 2; entry < start + 2 + 12 * count; entry += 12)
      if (number(entry, 2) == TAG && number(entry + 2, 2) == SHORT && number(entry + 4, 4) == 1)
        return static_cast<int>(number(entry + 8, 2));
    return 0;
  }

 private:
  static constexpr std::uint64_t TAG = 274, SHORT = 3;

  /// `size` bytes from `at` on, in the file's order; 0 beyond its end.
  std::uint64_t number(std::uint64_t at, std::size_t size) const {
    std::uint64_t value = 0;
    if (at + size > bytes_.size()) return 0;
    for (std::size_t i = 0; i < size; ++i)
      value = value << 8 | static_cast<unsigned char>(bytes_[at + (is_big_ ? i : size - 1 - i)]);
    return value;
  }

  std::string_view bytes_;
  bool is_big_;
};

/// The digit after tiff:Orientation=" or tiff:Orientation>; 0: there is none.
inline int xmp_orientation(std::string_view xmp) {
  constexpr std::string_view tag = "tiff:Orientation";
  for (std::size_t at = xmp.find(tag); at != xmp.npos; at = xmp.find(tag, at + 1)) {
    std::string_view rest = xmp.substr(at + tag.size());
    const std::size_t skipped = rest.substr(0, 2) == "=\"" ? 2 : rest.substr(0, 1) == ">" ? 1 : 0;
    rest.remove_prefix(skipped);
    if (skipped > 0 && !rest.empty() && rest[0] >= '0' && rest[0] <= '9') return rest[0] - '0';
  }
  return 0;
}

/// 1 to 8 by EXIF 2.32; 1 (upright) where nothing is said.
inline int find_orientation(std::string_view exif, std::string_view xmp) {
  const int tagged = Tiff(exif).orientation(), found = tagged == 0 ? xmp_orientation(xmp) : tagged;
  return found >= 1 && found <= 8 ? found : 1;
}

}  // namespace d2deploy
