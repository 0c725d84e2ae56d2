/// The surface of bodies in colours: each part, or each stretch of a mesh's vertices, has its own. As
/// src/d2deploy/draw/surfaces.py.
#pragma once

#include <algorithm>
#include <cstdint>
#include <variant>

#include "d2deploy/canvas.hpp"
#include "d2deploy/result.hpp"

namespace d2deploy {

namespace surfaces {

constexpr double OPACITY = 0.6;
constexpr int HUES = 64;  // told apart along the list of a mesh's vertices

/// The colour of a vertex of which `count` are told apart.
inline Colour colour_of_vertex(std::int64_t vertex, std::int64_t count) {
  return colour_of_hue(static_cast<double>(vertex * HUES / count) / HUES, 0.8, 0.95);
}

struct Tint {
  Canvas& canvas;

  void operator()(const DensePoseChart& chart) const {
    const Labels& labels = chart.labels;
    for (int y = 0; y < labels.size.height; ++y)
      for (int x = 0; x < labels.size.width; ++x)
        if (const int part = labels.row(y)[x]; part > 0)
          canvas.tint_pixel(chart.x + x, chart.y + y, colour_of(part), OPACITY);
  }

  void operator()(const DensePoseVertices& found) const {
    const Labels& vertices = found.vertices;
    const std::int64_t highest = *std::max_element(vertices.values.begin(), vertices.values.end());
    for (int y = 0; y < vertices.size.height; ++y)
      for (int x = 0; x < vertices.size.width; ++x)
        if (const int vertex = vertices.row(y)[x]; vertex >= 0)
          canvas.tint_pixel(found.x + x, found.y + y, colour_of_vertex(vertex, highest + 1), OPACITY);
  }
};

}  // namespace surfaces

/// Lay its colours over the pixels of one body.
inline void tint_surface(Canvas& canvas, const DensePose& found) { std::visit(surfaces::Tint{canvas}, found); }

}  // namespace d2deploy
