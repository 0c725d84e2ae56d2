/// Bytes as text: RFC 4648's base64, with padding.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace d2deploy {

inline std::string base64(std::string_view bytes) {
  constexpr char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const auto byte = [&](std::size_t i) { return i < bytes.size() ? static_cast<unsigned char>(bytes[i]) : 0u; };
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const unsigned three = byte(i) << 16 | byte(i + 1) << 8 | byte(i + 2);
    for (int shift = 18; shift >= 0; shift -= 6) text += digits[three >> shift & 63];
  }
  for (std::size_t i = bytes.size() % 3; i > 0 && i < 3; ++i) text[text.size() - (3 - i)] = '=';
  return text;
}

}  // namespace d2deploy
