/// Which way up an image is: the tag 274 of its EXIF block (a TIFF: version 6.0, section 2), else of its XMP text.
#pragma once

#include <cstddef>
#include <cstdint>
#include <regex>
#include <string>
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

/// 1 to 8 by EXIF 2.32; 1 (upright) where nothing is said.
inline int find_orientation(std::string_view exif, const std::string& xmp) {
  int found = Tiff(exif).orientation();
  static const std::regex pattern("tiff:Orientation(=\"|>)([0-9])");
  if (std::smatch match; found == 0 && std::regex_search(xmp, match, pattern)) found = std::stoi(match[2]);
  return found >= 1 && found <= 8 ? found : 1;
}

}  // namespace d2deploy
