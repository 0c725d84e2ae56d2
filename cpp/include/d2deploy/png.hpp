/// PNG files, by libpng.
#pragma once

#include <algorithm>
#include <csetjmp>
#include <cstddef>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <png.h>

#include "d2deploy/error.hpp"
#include "d2deploy/exif.hpp"
#include "d2deploy/pixels.hpp"

namespace d2deploy {

namespace png_file {

[[noreturn]] inline void on_error(png_structp png, png_const_charp message) {
  *static_cast<std::string*>(png_get_error_ptr(png)) = message;
  png_longjmp(png, 1);
}

inline void on_warning(png_structp, png_const_charp) {}

/// libpng leaves by longjmp, which runs no destructors: what needs one lies here, and not where it is called.
struct Reading {
  std::string_view bytes;
  std::string error;
  png_structp png;
  png_infop info;
  Decoded found;
  std::vector<png_byte> samples;  // 16 bits of grey
  std::vector<png_bytep> rows;
  bool is_complete = false;  // the pixels are; damage behind them does no harm

  explicit Reading(std::string_view bytes)
      : bytes(bytes), png(png_create_read_struct(PNG_LIBPNG_VER_STRING, &error, on_error, on_warning)) {
    info = png ? png_create_info_struct(png) : nullptr;
  }
  Reading(const Reading&) = delete;
  ~Reading() { png_destroy_read_struct(&png, &info, nullptr); }
};

inline void read_bytes(png_structp png, png_bytep target, std::size_t size) {
  auto& bytes = static_cast<Reading*>(png_get_io_ptr(png))->bytes;
  if (bytes.size() < size) png_error(png, "the file ends too early");
  std::memcpy(target, bytes.data(), size);
  bytes.remove_prefix(size);
}

/// Alpha is dropped and 16 bits are cut to their upper 8, but those of plain grey at 255: as Pillow does.
inline void choose_form(Reading& r) {
  png_set_palette_to_rgb(r.png);
  png_set_expand_gray_1_2_4_to_8(r.png);
  png_set_strip_alpha(r.png);
  if (png_get_bit_depth(r.png, r.info) == 16 && png_get_color_type(r.png, r.info) == PNG_COLOR_TYPE_GRAY) return;
  png_set_strip_16(r.png);
  png_set_gray_to_rgb(r.png);
  png_set_bgr(r.png);
}

inline void read_rows(Reading& r) {
  const std::size_t width = png_get_image_width(r.png, r.info), height = png_get_image_height(r.png, r.info);
  png_set_interlace_handling(r.png);
  png_read_update_info(r.png, r.info);
  r.found.image = Image(static_cast<int>(height), static_cast<int>(width));
  const bool is_grey16 = png_get_channels(r.png, r.info) == 1;
  if (png_get_rowbytes(r.png, r.info) != width * (is_grey16 ? 2 : 3)) png_error(r.png, "of a form that is not known");
  if (is_grey16) r.samples.resize(width * height * 2);
  for (std::size_t y = 0; y < height; ++y)
    r.rows.push_back(is_grey16 ? &r.samples[y * width * 2] : r.found.image.at(static_cast<int>(y), 0));
  png_read_image(r.png, r.rows.data());
  for (std::size_t i = 0; i < r.samples.size() / 2; ++i)
    std::fill_n(&r.found.image.pixels[i * 3], 3, r.samples[2 * i] ? 255 : r.samples[2 * i + 1]);
}

inline void read_metadata(Reading& r) {
  png_textp texts = nullptr;
  int count = 0;
  png_get_text(r.png, r.info, &texts, &count);
  for (int i = 0; i < count; ++i)
    if (std::strcmp(texts[i].key, "XML:com.adobe.xmp") == 0 && texts[i].text)
      r.found.xmp = texts[i].text;
    else if (std::strcmp(texts[i].key, "Raw profile type exif") == 0 && texts[i].text && r.found.exif.empty())
      r.found.exif = raw_profile(texts[i].text);
  png_bytep exif = nullptr;
  png_uint_32 size = 0;
  if (png_get_eXIf_1(r.png, r.info, &size, &exif)) r.found.exif.assign(exif, exif + size);
}

inline bool decode(Reading& r, const std::string& name) {
  if (setjmp(png_jmpbuf(r.png))) return r.is_complete;
  png_set_read_fn(r.png, &r, read_bytes);
  png_set_user_limits(r.png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);  // check_size knows the limit
  png_read_info(r.png, r.info);
  check_size(png_get_image_width(r.png, r.info), png_get_image_height(r.png, r.info), name);
  choose_form(r);
  read_rows(r);
  r.is_complete = true;
  read_metadata(r);
  png_read_end(r.png, r.info);
  read_metadata(r);
  return true;
}

struct Writing {
  std::string bytes, error;
  png_structp png;
  png_infop info;

  Writing() : png(png_create_write_struct(PNG_LIBPNG_VER_STRING, &error, on_error, on_warning)) {
    info = png ? png_create_info_struct(png) : nullptr;
  }
  Writing(const Writing&) = delete;
  ~Writing() { png_destroy_write_struct(&png, &info); }
};

inline void write_bytes(png_structp png, png_bytep bytes, std::size_t size) {
  static_cast<Writing*>(png_get_io_ptr(png))->bytes.append(bytes, bytes + size);
}

inline bool encode(Writing& w, const Image& image) {
  if (setjmp(png_jmpbuf(w.png))) return false;
  png_set_write_fn(w.png, &w, write_bytes, nullptr);
  png_set_IHDR(w.png, w.info, static_cast<png_uint_32>(image.width), static_cast<png_uint_32>(image.height), 8,
               PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  png_write_info(w.png, w.info);
  png_set_bgr(w.png);
  for (int y = 0; y < image.height; ++y) png_write_row(w.png, image.at(y, 0));
  png_write_end(w.png, w.info);
  return true;
}

}  // namespace png_file

/// The content of a PNG file. `name` is for messages. Raises Error.
inline Decoded read_png(std::string_view bytes, const std::string& name) {
  png_file::Reading reading(bytes);
  if (!reading.info || !png_file::decode(reading, name))
    throw Error(name + " is damaged: " + reading.error + ". Copy the file again.");
  return std::move(reading.found);
}

/// A PNG file of a BGR image. Raises Error.
inline std::string write_png(const Image& image) {
  png_file::Writing writing;
  if (!writing.info || !png_file::encode(writing, image))
    throw Error("A picture cannot be a PNG file: " + writing.error + ". Give a smaller image.");
  return std::move(writing.bytes);
}

}  // namespace d2deploy
