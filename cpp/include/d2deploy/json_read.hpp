/// From the text of a JSON document (RFC 8259) to its value.
#pragma once

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "d2deploy/error.hpp"
#include "d2deploy/json.hpp"

namespace d2deploy {

class JsonReader {
 public:
  explicit JsonReader(std::string_view text) : text_(text) {}

  /// The whole document. Raises Error that says where it is not JSON.
  Json document() {
    Json value = this->value(0);
    skip_blanks();
    if (at_ != text_.size()) fail("something follows the end");
    return value;
  }

 private:
  static constexpr int MAX_DEPTH = 200;

  [[noreturn]] void fail(const std::string& why) const {
    throw Error("not JSON at byte " + std::to_string(at_) + ": " + why);
  }

  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }

  void skip_blanks() {
    while (at_ < text_.size() && std::string_view(" \t\n\r").find(text_[at_]) != std::string_view::npos) ++at_;
  }

  bool take(std::string_view word) {
    if (text_.substr(at_, word.size()) != word) return false;
    at_ += word.size();
    return true;
  }

  void expect(std::string_view word) {
    skip_blanks();
    if (!take(word)) fail("'" + std::string(word) + "' is missing");
  }

  Json value(int depth) {
    if (depth > MAX_DEPTH) fail("too deep");
    skip_blanks();
    if (peek() == '{') return object(depth);
    if (peek() == '[') return array(depth);
    if (peek() == '"') return text();
    if (take("true")) return true;
    if (take("false")) return false;
    if (take("null")) return {};
    return number();
  }

  Json object(int depth) {
    Json::Object members;
    expect("{");
    skip_blanks();
    if (take("}")) return members;
    do {
      skip_blanks();
      std::string key = text();
      expect(":");
      members.emplace_back(std::move(key), value(depth + 1));
      skip_blanks();
    } while (take(","));
    expect("}");
    return members;
  }

  Json array(int depth) {
    Json::Array items;
    expect("[");
    skip_blanks();
    if (take("]")) return items;
    do {
      items.push_back(value(depth + 1));
      skip_blanks();
    } while (take(","));
    expect("]");
    return items;
  }

  Json number() {
    const std::size_t start = at_;
    while (at_ < text_.size() && std::string_view("+-.eE0123456789").find(text_[at_]) != std::string_view::npos) ++at_;
    const char *first = text_.data() + start, *last = text_.data() + at_;
    std::int64_t whole = 0;
    if (const auto read = std::from_chars(first, last, whole); read.ec == std::errc() && read.ptr == last) return whole;
    double real = 0;
    if (const auto read = std::from_chars(first, last, real); read.ec == std::errc() && read.ptr == last) return real;
    at_ = start;
    fail("neither a value nor a number that can be held");
  }

  std::string text() {
    std::string out;
    expect("\"");
    while (!take("\"")) {
      if (at_ >= text_.size() || static_cast<unsigned char>(text_[at_]) < 0x20) fail("a text has no end");
      if (take("\\"))
        append_escaped(out);
      else
        out += text_[at_++];
    }
    return out;
  }

  void append_escaped(std::string& out) {
    constexpr std::string_view letters = "\"\\/bfnrt", meanings = "\"\\/\b\f\n\r\t";
    if (take("u")) return append_utf8(out, code_point());
    const auto i = letters.find(peek());
    if (at_ >= text_.size() || i == std::string_view::npos) fail("an unknown escape");
    out += meanings[i];
    ++at_;
  }

  unsigned code_point() {
    const unsigned high = code_unit();
    if (high >> 10 != 0x36 || !take("\\u")) return high;
    const unsigned low = code_unit();
    if (low >> 10 != 0x37) fail("half a surrogate pair");
    return 0x10000 + ((high & 0x3FF) << 10) + (low & 0x3FF);
  }

  unsigned code_unit() {
    unsigned unit = 0;
    const std::string_view digits = text_.substr(at_, 4);
    const auto read = std::from_chars(digits.data(), digits.data() + digits.size(), unit, 16);
    if (digits.size() != 4 || read.ptr != digits.data() + 4) fail("\\u without four digits");
    at_ += 4;
    return unit;
  }

  static void append_utf8(std::string& out, unsigned point) {
    if (point < 0x80) {
      out += static_cast<char>(point);
      return;
    }
    const int length = point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    out += static_cast<char>((0xF00u >> length & 0xFF) | point >> 6 * (length - 1));
    for (int i = length - 2; i >= 0; --i) out += static_cast<char>(0x80 | (point >> 6 * i & 0x3F));
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

/// The value of a JSON document. Raises Error.
inline Json read_json(std::string_view text) { return JsonReader(text).document(); }

}  // namespace d2deploy
