/// JSON values, and their text as Python's json.dumps writes it. json_read.hpp is the other direction.
#pragma once

#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "d2deploy/error.hpp"

namespace d2deploy {

class Json {
 public:
  using Array = std::vector<Json>;
  using Member = std::pair<std::string, Json>;
  using Object = std::vector<Member>;  // in the order of the text

  Json() = default;  // null
  Json(bool value) : value_(value) {}
  Json(int value) : value_(std::int64_t{value}) {}
  Json(std::int64_t value) : value_(value) {}
  Json(double value) : value_(value) {}
  Json(const char* value) : value_(std::string(value)) {}
  Json(std::string value) : value_(std::move(value)) {}
  Json(Array value) : value_(std::move(value)) {}
  Json(Object value) : value_(std::move(value)) {}

  bool is_null() const { return std::holds_alternative<std::monostate>(value_); }

  /// The value as what it must be. These raise Error when it is not; `what` names it there.
  bool boolean(std::string_view what) const { return get<bool>(what, "true or false"); }
  std::int64_t whole(std::string_view what) const { return get<std::int64_t>(what, "a whole number"); }
  const std::string& text(std::string_view what) const { return get<std::string>(what, "a text"); }
  const Array& array(std::string_view what) const { return get<Array>(what, "a list"); }
  const Object& object(std::string_view what) const { return get<Object>(what, "an object"); }
  double number(std::string_view what) const {
    const auto* whole = std::get_if<std::int64_t>(&value_);
    return whole ? static_cast<double>(*whole) : get<double>(what, "a number");
  }

  /// The member called `key` of an object. Raises Error when there is none.
  const Json& at(std::string_view key) const {
    const Json* found = find(key);
    if (!found) throw Error("it has no " + std::string(key));
    return *found;
  }

  /// The member called `key` of an object, or nullptr.
  const Json* find(std::string_view key) const {
    for (const Member& member : object("what holds " + std::string(key)))
      if (member.first == key) return &member.second;
    return nullptr;
  }

  /// The text, on one line, ASCII alone. Raises Error for a number that JSON does not have (not finite).
  std::string dump() const {
    std::string out;
    write(out);
    return out;
  }

 private:
  template <typename T>
  const T& get(std::string_view what, std::string_view kind) const {
    const T* found = std::get_if<T>(&value_);
    if (!found) throw Error(std::string(what) + " is not " + std::string(kind));
    return *found;
  }

  void write(std::string& out) const;

  std::variant<std::monostate, bool, std::int64_t, double, std::string, Array, Object> value_;
};

namespace json_text {

/// The shortest digits that give the same number back.
inline std::string of_number(double number) {
  if (!std::isfinite(number)) throw Error("A result is not a finite number, which JSON cannot hold. Export again.");
  char digits[32];
  const auto end = std::to_chars(digits, digits + sizeof digits, number).ptr;
  std::string text(digits, end);
  if (text.find_first_of(".e") == std::string::npos) text += ".0";
  return text;
}

inline void append_escape(std::string& out, unsigned unit) {
  constexpr char digits[] = "0123456789abcdef";
  out += "\\u";
  for (int shift = 12; shift >= 0; shift -= 4) out += digits[unit >> shift & 15];
}

/// How many bytes the UTF-8 character at the start of `text` has, and its code point; 0: it is none.
inline int decode(std::string_view text, unsigned& point) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned first = byte(0);
  const int length = first < 0x80 ? 1 : first >> 5 == 6 ? 2 : first >> 4 == 14 ? 3 : first >> 3 == 30 ? 4 : 0;
  if (length == 0 || text.size() < std::size_t(length)) return 0;
  point = length == 1 ? first : first & (0x7Fu >> length);
  for (int i = 1; i < length; ++i) {
    if (byte(i) >> 6 != 2) return 0;
    point = point << 6 | (byte(i) & 0x3F);
  }
  constexpr unsigned lowest[] = {0, 0, 0x80, 0x800, 0x10000};
  const bool is_surrogate = point >> 11 == 0x1B;
  return point < lowest[length] || point > 0x10FFFF || is_surrogate ? 0 : length;
}

inline void append_quoted(std::string& out, std::string_view text) {
  constexpr std::string_view special = "\"\\\b\f\n\r\t", letters = "\"\\bfnrt";
  out += '"';
  while (!text.empty()) {
    unsigned point = 0;
    int length = decode(text, point);
    if (length == 0) {  // not UTF-8, as file names may be: Python's surrogateescape
      length = 1;
      append_escape(out, 0xDC00 + static_cast<unsigned char>(text[0]));
    } else if (const auto i = length == 1 ? special.find(text[0]) : std::string_view::npos; i < special.size()) {
      out += '\\';
      out += letters[i];
    } else if (point >= 0x20 && point < 0x7F) {
      out += text[0];
    } else if (point < 0x10000) {
      append_escape(out, point);
    } else {
      append_escape(out, 0xD800 + ((point - 0x10000) >> 10));
      append_escape(out, 0xDC00 + ((point - 0x10000) & 0x3FF));
    }
    text.remove_prefix(length);
  }
  out += '"';
}

}  // namespace json_text

inline void Json::write(std::string& out) const {
  std::string_view gap;
  if (is_null()) {
    out += "null";
  } else if (const auto* flag = std::get_if<bool>(&value_)) {
    out += *flag ? "true" : "false";
  } else if (const auto* whole = std::get_if<std::int64_t>(&value_)) {
    out += std::to_string(*whole);
  } else if (const auto* number = std::get_if<double>(&value_)) {
    out += json_text::of_number(*number);
  } else if (const auto* text = std::get_if<std::string>(&value_)) {
    json_text::append_quoted(out, *text);
  } else if (const auto* items = std::get_if<Array>(&value_)) {
    out += '[';
    for (const Json& item : *items) {
      out += std::exchange(gap, ", ");
      item.write(out);
    }
    out += ']';
  } else {
    out += '{';
    for (const Member& member : std::get<Object>(value_)) {
      out += std::exchange(gap, ", ");
      json_text::append_quoted(out, member.first);
      out += ": ";
      member.second.write(out);
    }
    out += '}';
  }
}

}  // namespace d2deploy
