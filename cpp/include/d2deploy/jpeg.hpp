/// JPEG files, by libjpeg.
#pragma once

#include <csetjmp>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <jpeglib.h>  // needs cstdio before it

#include <jerror.h>

#include "d2deploy/error.hpp"
#include "d2deploy/pixels.hpp"

namespace d2deploy {

namespace jpeg_file {

/// libjpeg leaves by longjmp, which runs no destructors: what needs one lies here, and not where it is called.
struct Reading {
  jpeg_error_mgr errors;  // first: libjpeg's pointer to it is one to this
  std::jmp_buf escape;
  char error[JMSG_LENGTH_MAX] = "";
  jpeg_decompress_struct jpeg;
  Decoded found;
  std::vector<std::uint8_t> row;
  bool is_created = false;

  Reading() = default;
  Reading(const Reading&) = delete;
  ~Reading() {
    if (is_created) jpeg_destroy_decompress(&jpeg);
  }
};

[[noreturn]] inline void on_error(j_common_ptr jpeg) {
  auto* reading = reinterpret_cast<Reading*>(jpeg->err);
  jpeg->err->format_message(jpeg, reading->error);
  std::longjmp(reading->escape, 1);
}

/// Damage is repaired as well as libjpeg can, as with Pillow; a file that ends too early is an error, as there.
inline void on_message(j_common_ptr jpeg, int level) {
  if (level < 0 && jpeg->err->msg_code == JWRN_JPEG_EOF) on_error(jpeg);
}

inline void read_metadata(Reading& r) {
  const std::string_view exif("Exif\0\0", 6), xmp("http://ns.adobe.com/xap/1.0/\0", 29);
  for (auto marker = r.jpeg.marker_list; marker; marker = marker->next) {
    std::string_view data(reinterpret_cast<const char*>(marker->data), marker->data_length);
    if (data.substr(0, exif.size()) == exif) r.found.exif += data.substr(exif.size());
    if (data.substr(0, xmp.size()) == xmp) r.found.xmp = data.substr(xmp.size());
  }
}

/// One row to BGR. Of 4 channels Adobe's inverted CMYK, to RGB as Pillow does it.
inline void convert(const Reading& r, std::uint8_t* out) {
  const int channels = r.jpeg.output_components;
  for (int x = 0; x < r.found.image.width; ++x) {
    const std::uint8_t* in = r.row.data() + x * channels;
    for (int c = 0; c < 3; ++c) {
      std::uint8_t value = in[channels == 1 ? 0 : c];
      if (channels == 4) {
        const int light = in[3], scaled = (255 - value) * light + 128;
        value = static_cast<std::uint8_t>(light - ((scaled + (scaled >> 8)) >> 8));
      }
      out[3 * x + 2 - c] = value;
    }
  }
}

inline void read_pixels(Reading& r) {
  jpeg_start_decompress(&r.jpeg);
  r.found.image = Image(static_cast<int>(r.jpeg.output_height), static_cast<int>(r.jpeg.output_width));
  r.row.resize(std::size_t(r.jpeg.output_width) * r.jpeg.output_components);
  while (r.jpeg.output_scanline < r.jpeg.output_height) {
    JSAMPROW row = r.row.data();
    const int y = static_cast<int>(r.jpeg.output_scanline);
    jpeg_read_scanlines(&r.jpeg, &row, 1);
    convert(r, r.found.image.at(y, 0));
  }
}

inline bool decode(Reading& r, std::string_view bytes, const std::string& name) {
  r.jpeg.err = jpeg_std_error(&r.errors);
  r.errors.error_exit = on_error;
  r.errors.emit_message = on_message;
  if (setjmp(r.escape)) return false;
  jpeg_create_decompress(&r.jpeg);
  r.is_created = true;
  jpeg_save_markers(&r.jpeg, JPEG_APP0 + 1, 0xFFFF);
  jpeg_mem_src(&r.jpeg, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size());
  jpeg_read_header(&r.jpeg, TRUE);
  check_size(r.jpeg.image_width, r.jpeg.image_height, name);
  read_metadata(r);
  if (r.jpeg.num_components == 4)
    r.jpeg.out_color_space = JCS_CMYK;
  else
    r.jpeg.out_color_space = r.jpeg.num_components == 1 ? JCS_GRAYSCALE : JCS_RGB;
  read_pixels(r);
  return true;
}

}  // namespace jpeg_file

/// The content of a JPEG file. `name` is for messages. Raises Error.
inline Decoded read_jpeg(std::string_view bytes, const std::string& name) {
  jpeg_file::Reading reading;
  if (!jpeg_file::decode(reading, bytes, name))
    throw Error(name + " is damaged: " + reading.error + ". Copy the file again.");
  return std::move(reading.found);
}

}  // namespace d2deploy
