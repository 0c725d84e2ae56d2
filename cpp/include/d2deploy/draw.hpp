/// Results on their image, one drawing for each kind.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <map>
#include <numeric>
#include <string>
#include <variant>
#include <vector>

#include "d2deploy/boxes.hpp"
#include "d2deploy/canvas.hpp"
#include "d2deploy/manifest.hpp"
#include "d2deploy/result.hpp"
#include "d2deploy/surfaces.hpp"
#include "d2deploy/written.hpp"

namespace d2deploy {

namespace drawing {

constexpr double OPACITY = 0.45, REGION_OPACITY = 0.55;
constexpr std::size_t PROPOSALS_SHOWN = 50;
constexpr double LABELLED = 2e-3;        // share of the image; a smaller region has no room for a name
constexpr float KEYPOINT_SCORE = 0.05F;  // lower ones are not shown, as in detectron2's visualizer
constexpr int STUFF = 1000;              // added to a kind of stuff, so that it gets no thing's colour

inline std::string percent(float score) { return " " + std::to_string(std::lround(score * 100)) + "%"; }

/// The corners of a box of 4 or 5 numbers, in the picture's pixels.
inline std::vector<Point> corners(const std::vector<float>& box, int factor) {
  if (box.size() == 4)
    return {{box[0] * 1.0 * factor, box[1] * 1.0 * factor},
            {box[2] * 1.0 * factor, box[1] * 1.0 * factor},
            {box[2] * 1.0 * factor, box[3] * 1.0 * factor},
            {box[0] * 1.0 * factor, box[3] * 1.0 * factor}};
  const double turn = box[4] * boxes::PI / 180, cosine = std::cos(turn), sine = std::sin(turn);
  std::vector<Point> points;
  for (const auto& [across, down] : {std::pair(-0.5, -0.5), {0.5, -0.5}, {0.5, 0.5}, {-0.5, 0.5}}) {
    const double x = across * box[2], y = down * box[3];
    points.push_back({(box[0] + cosine * x + sine * y) * factor, (box[1] - sine * x + cosine * y) * factor});
  }
  return points;
}

inline Rectangle around(const std::vector<Point>& points) {
  const auto [left, right] =
      std::minmax_element(points.begin(), points.end(), [](auto a, auto b) { return a.x < b.x; });
  const auto [top, bottom] =
      std::minmax_element(points.begin(), points.end(), [](auto a, auto b) { return a.y < b.y; });
  return {left->x, top->y, right->x, bottom->y};
}

inline void outline(Canvas& canvas, const std::vector<float>& box, Colour colour, int width) {
  const auto points = corners(box, canvas.factor());
  if (box.size() == 4) return canvas.rectangle(around(points), colour, width);
  for (std::size_t i = 0; i < points.size(); ++i)
    canvas.line(points[i], points[(i + 1) % points.size()], colour, width);
}

inline double area(const std::vector<float>& box) {
  return box.size() == 5 ? double(box[2]) * box[3] : double(box[2] - box[0]) * (box[3] - box[1]);
}

/// The place of a mask where a name is: the middle of its longest row around the middle row of its pixels.
inline Point middle(const Mask& mask, int factor) {
  std::int64_t seen = 0;
  const std::int64_t half = mask.area() / 2;
  for (int y = 0; y < mask.height; ++y) {
    const std::uint8_t* row = mask.row(y);
    seen += std::accumulate(row, row + mask.width, std::int64_t{0});
    if (seen <= half) continue;
    int best = 0, longest = 0;
    for (int x = 0, length = 0; x < mask.width; ++x) {
      length = row[x] ? length + 1 : 0;
      if (length > longest) longest = length, best = x - length / 2;
    }
    return {(mask.left + best + 0.5) * factor, (mask.top + y + 0.5) * factor};
  }
  return {0, 0};
}

struct Drawing {
  Canvas& canvas;
  const ModelSpec& spec;
  double min_score;

  void operator()(const Instances& all) const {
    Instances shown;
    std::copy_if(all.begin(), all.end(), std::back_inserter(shown), [&](auto& i) { return i.score >= min_score; });
    Instances by_area = shown;  // small objects above large ones
    std::stable_sort(by_area.begin(), by_area.end(), [](auto& a, auto& b) { return area(a.box) > area(b.box); });
    for (const Instance& instance : by_area)
      if (instance.mask) canvas.tint(*instance.mask, colour_of(instance.class_id), OPACITY, canvas.line());
    for (const Instance& instance : by_area)
      if (instance.dense_pose) tint_surface(canvas, *instance.dense_pose);
    for (const Instance& instance : by_area) outline(canvas, instance.box, colour_of(instance.class_id), canvas.line());
    for (const Instance& instance : shown)
      for (const Keypoint& point : instance.keypoints.value_or(std::vector<Keypoint>{}))
        if (point.score > KEYPOINT_SCORE) dot(point, instance.class_id);
    for (const Instance& instance : shown)
      canvas.label(spec.class_name(instance.class_id) + percent(instance.score),
                   around(corners(instance.box, canvas.factor())), colour_of(instance.class_id));
  }

  void operator()(const Proposals& proposals) const {
    for (std::size_t i = std::min(proposals.size(), PROPOSALS_SHOWN); i-- > 0;)  // the best above all others
      outline(canvas, proposals[i].box, colour_of(static_cast<std::int64_t>(i)), std::max(1, canvas.line() / 2));
  }

  void operator()(const Semantic& semantic) const {
    const auto masks = masks_by_label(semantic.labels);
    for (const auto& [class_id, mask] : masks) canvas.tint(mask, colour_of(class_id), REGION_OPACITY, 1);
    for (const auto& [class_id, mask] : masks) name(mask, spec.channel_name(class_id), colour_of(class_id));
  }

  void operator()(const Panoptic& panoptic) const {
    const auto masks = masks_by_label(panoptic.panoptic_seg);
    std::vector<Segment> segments = panoptic.segments;
    std::stable_sort(segments.begin(), segments.end(), [](auto& a, auto& b) { return a.is_thing < b.is_thing; });
    for (const Segment& segment : segments)
      if (const auto found = masks.find(segment.id); found != masks.end())
        canvas.tint(found->second, colour(segment), REGION_OPACITY, segment.is_thing ? canvas.line() : 1);
    for (const Segment& segment : segments)
      if (const auto found = masks.find(segment.id); found != masks.end()) {
        const std::int64_t id = segment.category_id;
        const std::string kind = segment.is_thing ? spec.class_name(id) : spec.channel_name(id);
        name(found->second, kind + (segment.score ? percent(*segment.score) : ""), colour(segment));
      }
  }

 private:
  static Colour colour(const Segment& segment) {
    return colour_of(segment.category_id + (segment.is_thing ? 0 : STUFF));
  }

  void dot(const Keypoint& point, std::int64_t class_id) const {
    const Point place{double(point.x) * canvas.factor(), double(point.y) * canvas.factor()};
    canvas.dot(place, 1.5 * canvas.line(), colour_of(class_id));
  }

  void name(const Mask& mask, const std::string& text, Colour colour) const {
    if (static_cast<double>(mask.area()) >= LABELLED * static_cast<double>(mask.pixels.size()))
      canvas.label_inside(text, middle(mask, canvas.factor()), colour);
  }
};

}  // namespace drawing

/// The image with what was found on it; of detections those of at least `min_score`.
inline Image draw_result(const Image& image, const Result& result, const ModelSpec& spec, double min_score) {
  Canvas canvas(image);
  std::visit(drawing::Drawing{canvas, spec, min_score}, result);
  return canvas.picture();
}

}  // namespace d2deploy
