/// Which way up an image is: the tag 274 of its EXIF block (a TIFF: version 6.0, section 2), else of its XMP text.
#pragma once

#include <charconv>
#include <cstddef>
#include <cstdint>
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
      if (number(entry, 2) == TAG && number(entry + 4, 4) == 1)
        return static_cast<int>(number(entry + 8, size_of(number(entry + 2, 2))));
    return 0;
  }

 private:
  static constexpr std::uint64_t TAG = 274;

  /// Bytes of a whole number by its type: short, as the standard says, or long, as some write; else 0.
  static std::size_t size_of(std::uint64_t type) { return type == 3 ? 2 : type == 4 ? 4 : 0; }

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

/// The bytes that a PNG text "Raw profile type exif" holds, as ImageMagick wrote it: a line that is empty, one with a
/// name, one with the length, then lines of hexadecimal digits. Empty when they are no such digits.
inline std::string raw_profile(std::string_view text) {
  for (int line = 0; line < 3; ++line) {
    const std::size_t end = text.find('\n');
    if (end == text.npos) return {};
    text.remove_prefix(end + 1);
  }
  std::string bytes, digits;
  for (const char character : text)
    if (character != '\n') digits += character;
  if (digits.size() % 2 == 1) return {};
  for (std::size_t i = 0; i < digits.size(); i += 2) {
    unsigned char byte = 0;
    if (std::from_chars(&digits[i], &digits[i] + 2, byte, 16).ptr != &digits[i] + 2) return {};
    bytes += static_cast<char>(byte);
  }
  return bytes.compare(0, 6, std::string_view("Exif\0\0", 6)) == 0 ? bytes.substr(6) : bytes;
}

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
