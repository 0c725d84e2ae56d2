/// What every drawing is made of: the enlarged image, colours, lines, tinted pixels, labels.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "d2deploy/font.hpp"
#include "d2deploy/pixels.hpp"
#include "d2deploy/resize.hpp"
#include "d2deploy/result.hpp"

namespace d2deploy {

struct Colour {
  double red, green, blue;  // 0..255
};

constexpr Colour WHITE{255, 255, 255}, INK{24, 24, 27};

/// Of a hue in turns around the circle, saturation and value 0..1.
inline Colour colour_of_hue(double turns, double saturation, double value) {
  const double hue = (turns - std::floor(turns)) * 6;
  const auto channel = [&](double place) {  // full for a third of the circle around `place`, none for another
    const double away = std::abs(std::remainder(hue - place, 6));
    return std::round(value * 255 * (1 - saturation * std::clamp(away - 1, 0.0, 1.0)));
  };
  return {channel(0), channel(2), channel(4)};
}

/// The colour of a class, the same in every picture, and the same that Python's drawing has.
inline Colour colour_of(std::int64_t id) {
  constexpr double saturations[] = {0.80, 0.65, 0.90}, values[] = {0.95, 1.0, 0.78};
  const std::int64_t row = (id % 3 + 3) % 3;
  return colour_of_hue(0.58 + static_cast<double>(id) * 0.618034, saturations[row], values[row]);
}

struct Point {
  double x, y;
};

struct Rectangle {
  double x1, y1, x2, y2;
};

/// An image to draw on, enlarged by a whole factor when it is small, so that labels can be read beside the objects.
/// Masks are of the image's size; everything else is in the picture's pixels.
class Canvas {
 public:
  explicit Canvas(const Image& image) {
    const int shorter = std::min(image.height, image.width), longer = std::max(image.height, image.width);
    factor_ = std::max(1, std::min((SMALL + shorter - 1) / shorter, LARGE / longer));
    picture_ = resize(image, {image.height * factor_, image.width * factor_});
    const double edge = std::sqrt(static_cast<double>(picture_.height) * picture_.width);
    line_ = std::max(2, static_cast<int>(std::lround(edge / 350)));
    dot_ = static_cast<int>(std::ceil(std::clamp(edge / 42, 11.0, 64.0) / 10));
  }

  const Image& picture() const { return picture_; }
  int factor() const { return factor_; }
  int line() const { return line_; }

  /// Lay `colour` over the pixels of a mask, and wholly over those at its border, `border` wide.
  void tint(const Mask& mask, Colour colour, double opacity, int border) {
    const Mask large = enlarged(mask);
    const auto edge = edge_of(large, border);
    for (int y = 0; y < large.height; ++y)
      for (int x = 0; x < large.width; ++x)
        if (large.row(y)[x])
          blend(large.left + x, large.top + y, colour, edge[std::size_t(y) * large.width + x] ? 1 : opacity);
  }

  /// Lay `colour` over one pixel of the image.
  void tint_pixel(int x, int y, Colour colour, double opacity) {
    for (int down = 0; down < factor_; ++down)
      for (int across = 0; across < factor_; ++across)
        blend(x * factor_ + across, y * factor_ + down, colour, opacity);
  }

  void rectangle(Rectangle box, Colour colour, int width) {
    const int x1 = round(box.x1), y1 = round(box.y1);
    const int x2 = std::max(x1, round(box.x2) - 1), y2 = std::max(y1, round(box.y2) - 1);
    fill({double(x1), double(y1), x2 + 1.0, std::min(y1 + width, y2 + 1) + 0.0}, colour);
    fill({double(x1), std::max(y2 + 1 - width, y1) + 0.0, x2 + 1.0, y2 + 1.0}, colour);
    fill({double(x1), double(y1), std::min(x1 + width, x2 + 1) + 0.0, y2 + 1.0}, colour);
    fill({std::max(x2 + 1 - width, x1) + 0.0, double(y1), x2 + 1.0, y2 + 1.0}, colour);
  }

  void line(Point from, Point to, Colour colour, int width) {
    const double length = std::hypot(to.x - from.x, to.y - from.y), steps = std::max(1.0, std::ceil(length));
    if (!(length < 4.0 * LARGE + picture_.width + picture_.height)) return;
    for (double i = 0; i <= steps; ++i) {
      const double x = from.x + (to.x - from.x) * i / steps, y = from.y + (to.y - from.y) * i / steps;
      fill({x - width / 2.0, y - width / 2.0, x + width / 2.0, y + width / 2.0}, colour);
    }
  }

  void dot(Point centre, double radius, Colour colour) {
    disc(centre, radius + 1, INK);
    disc(centre, radius, colour);
  }

  /// Write `text` on a ground of `colour` above `box`, or where there is room.
  void label(const std::string& text, Rectangle box, Colour colour) {
    const int pad = 2 * dot_;
    const double width = columns(text) * (GLYPH_WIDTH + 1) * dot_ + 2 * pad - dot_,
                 height = GLYPH_HEIGHT * dot_ + 2 * pad;
    const Point wanted[] = {{box.x1, box.y1 - height},
                            {box.x2 - width, box.y1 - height},
                            {box.x1, box.y1},
                            {box.x1, box.y2},
                            {box.x1, box.y2 - height}};
    const Rectangle place = free_place(wanted, width, height);
    taken_.push_back(place);
    fill(place, colour);
    const double light = 0.299 * colour.red + 0.587 * colour.green + 0.114 * colour.blue;
    write(text, {place.x1 + pad, place.y1 + pad}, light > 140 ? INK : WHITE);
  }

  /// As label, in the middle of a region.
  void label_inside(const std::string& text, Point middle, Colour colour) {
    const double width = columns(text) * (GLYPH_WIDTH + 1) * dot_ + 3 * dot_, height = (GLYPH_HEIGHT + 4) * dot_;
    const double x = middle.x - width / 2, y = middle.y + height / 2;
    label(text, {x, y, x + width, y + height}, colour);
  }

 private:
  static constexpr int SMALL = 400;   // pixels; images of a shorter edge below it are enlarged
  static constexpr int LARGE = 2000;  // pixels; but not beyond this longer edge

  static int round(double value) { return static_cast<int>(std::lround(std::clamp(value, -1e6, 1e6))); }

  void blend(int x, int y, Colour colour, double opacity) {
    if (x < 0 || y < 0 || x >= picture_.width || y >= picture_.height) return;
    std::uint8_t* pixel = picture_.at(y, x);
    const double parts[] = {colour.blue, colour.green, colour.red};
    for (int c = 0; c < 3; ++c) pixel[c] = static_cast<std::uint8_t>(pixel[c] * (1 - opacity) + parts[c] * opacity);
  }

  void fill(Rectangle box, Colour colour) {
    const int right = std::min(round(box.x2), picture_.width), bottom = std::min(round(box.y2), picture_.height);
    for (int y = std::max(0, round(box.y1)); y < bottom; ++y)
      for (int x = std::max(0, round(box.x1)); x < right; ++x) blend(x, y, colour, 1);
  }

  void disc(Point centre, double radius, Colour colour) {
    for (int y = round(centre.y - radius); y <= round(centre.y + radius); ++y)
      for (int x = round(centre.x - radius); x <= round(centre.x + radius); ++x)
        if (std::hypot(x - centre.x, y - centre.y) <= radius) blend(x, y, colour, 1);
  }

  Mask enlarged(const Mask& mask) const {
    if (factor_ == 1) return mask;
    Image image(mask.height, mask.width);
    for (std::size_t i = 0; i < mask.pixels.size(); ++i) std::fill_n(&image.pixels[3 * i], 3, mask.pixels[i] * 255);
    Mask large(mask.top * factor_, mask.left * factor_, mask.height * factor_, mask.width * factor_);
    image = resize(std::move(image), {large.height, large.width});
    for (std::size_t i = 0; i < large.pixels.size(); ++i) large.pixels[i] = image.pixels[3 * i] >= 128;
    return large;
  }

  /// Which pixels of a mask are less than `width` from its outside.
  static std::vector<bool> edge_of(const Mask& mask, int width) {
    std::vector<bool> edge(mask.pixels.size());
    const auto is_out = [&](int y, int x) {
      return y < 0 || x < 0 || y >= mask.height || x >= mask.width || !mask.row(y)[x];
    };
    for (int y = 0; y < mask.height; ++y)
      for (int x = 0; x < mask.width; ++x)
        for (int d = 1; d <= width && !edge[std::size_t(y) * mask.width + x]; ++d)
          edge[std::size_t(y) * mask.width + x] =
              is_out(y - d, x) || is_out(y + d, x) || is_out(y, x - d) || is_out(y, x + d);
    return edge;
  }

  /// How many characters there are, not bytes: UTF-8's later bytes of a character begin with the bits 10.
  static int columns(const std::string& text) {
    return static_cast<int>(std::count_if(text.begin(), text.end(), [](char byte) { return (byte & 0xC0) != 0x80; }));
  }

  void write(const std::string& text, Point at, Colour colour) {
    for (const char character : text) {
      if ((character & 0xC0) == 0x80) continue;
      for (int row = 0; row < GLYPH_HEIGHT; ++row)
        for (int column = 0; column < GLYPH_WIDTH; ++column)
          if (const double x = at.x + column * dot_, y = at.y + row * dot_; has_dot(character, row, column))
            fill({x, y, x + dot_, y + dot_}, colour);
      at.x += (GLYPH_WIDTH + 1) * dot_;
    }
  }

  /// The first free of the wanted places, moved into the picture; else the first.
  template <std::size_t N>
  Rectangle free_place(const Point (&wanted)[N], double width, double height) const {
    std::array<Rectangle, N> places;
    for (std::size_t i = 0; i < N; ++i) {
      const double x = std::round(std::max(0.0, std::min(wanted[i].x, picture_.width - width)));
      const double y = std::round(std::max(0.0, std::min(wanted[i].y, picture_.height - height)));
      places[i] = {x, y, x + width, y + height};
    }
    const auto found = std::find_if(places.begin(), places.end(), [&](const Rectangle& a) {
      return std::none_of(taken_.begin(), taken_.end(),
                          [&](const Rectangle& b) { return a.x1 < b.x2 && b.x1 < a.x2 && a.y1 < b.y2 && b.y1 < a.y2; });
    });
    return found == places.end() ? places[0] : *found;
  }

  Image picture_;
  int factor_, line_, dot_;
  std::vector<Rectangle> taken_;  // where labels are already
};

}  // namespace d2deploy
