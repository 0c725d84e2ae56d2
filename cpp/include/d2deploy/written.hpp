/// Results as JSON: what `d2deploy predict --json` writes (src/d2deploy/results/written.py).
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "d2deploy/base64.hpp"
#include "d2deploy/json.hpp"
#include "d2deploy/manifest.hpp"
#include "d2deploy/pixels.hpp"
#include "d2deploy/png.hpp"
#include "d2deploy/result.hpp"
#include "d2deploy/rle.hpp"

namespace d2deploy {

/// The pixels of each label, by label, as masks of the whole image.
inline std::map<std::int32_t, Mask> masks_by_label(const Labels& labels) {
  std::map<std::int32_t, Mask> masks;
  for (std::size_t i = 0; i < labels.values.size(); ++i) {
    auto& mask = masks.try_emplace(labels.values[i], 0, 0, labels.size.height, labels.size.width).first->second;
    mask.pixels[i] = 1;
  }
  return masks;
}

namespace written {

template <typename Numbers>
Json numbers(const Numbers& list) {
  Json::Array items;
  for (const float number : list) items.emplace_back(static_cast<double>(number));
  return items;
}

/// 0..255, rounded down, what lies beyond cut off; what is no number: 0.
inline std::uint8_t byte(float share) {
  return share > 0 ? static_cast<std::uint8_t>(std::min(share * 255.0F, 255.0F)) : 0;
}

/// Where a surface begins, and its pixels as a PNG in base64.
struct Surface {
  Json::Object operator()(const DensePoseChart& chart) const {
    Image image(chart.labels.size.height, chart.labels.size.width);
    for (std::size_t i = 0; i < chart.u.size(); ++i) {
      const auto part = static_cast<std::uint8_t>(chart.labels.values[i]);
      set(image, i, {part, byte(chart.u[i]), byte(chart.v[i])});
    }
    return {{"x", chart.x}, {"y", chart.y}, {"labels_uv", base64(write_png(image))}};
  }

  Json::Object operator()(const DensePoseVertices& found) const {
    Image image(found.vertices.size.height, found.vertices.size.width);
    for (std::size_t i = 0; i < found.vertices.values.size(); ++i) {
      const auto number = static_cast<std::uint32_t>(found.vertices.values[i] + 1);
      const auto digit = [&](int shift) { return static_cast<std::uint8_t>(number >> shift & 255); };
      set(image, i, {digit(16), digit(8), digit(0)});
    }
    return {{"x", found.x}, {"y", found.y}, {"mesh", found.mesh}, {"vertices", base64(write_png(image))}};
  }

 private:
  /// The channels as they are to lie in the file: images are BGR.
  static void set(Image& image, std::size_t pixel, const std::array<std::uint8_t, 3>& channels) {
    std::reverse_copy(channels.begin(), channels.end(), &image.pixels[3 * pixel]);
  }
};

inline Json instances(const Instances& found, const ModelSpec& spec, Size image) {
  Json::Array rows;
  for (const Instance& instance : found) {
    Json::Object row{{"box", numbers(instance.box)},
                     {"score", static_cast<double>(instance.score)},
                     {"class_id", instance.class_id},
                     {"class_name", spec.class_name(instance.class_id)}};
    if (instance.mask) row.emplace_back("mask", encode_mask(*instance.mask, image));
    if (instance.keypoints) {
      Json::Array points;
      for (const Keypoint& point : *instance.keypoints)
        points.push_back(numbers(std::vector<float>{point.x, point.y, point.score}));
      row.emplace_back("keypoints", std::move(points));
    }
    if (instance.dense_pose) row.emplace_back("densepose", std::visit(Surface(), *instance.dense_pose));
    rows.emplace_back(std::move(row));
  }
  return rows;
}

inline Json proposals(const Proposals& found) {
  Json::Array rows;
  for (const Proposal& proposal : found)
    rows.emplace_back(Json::Object{{"box", numbers(proposal.box)},
                                   {"objectness_logit", static_cast<double>(proposal.objectness_logit)}});
  return rows;
}

inline Json classes(const Semantic& semantic, const ModelSpec& spec) {
  Json::Array rows;
  for (const auto& [class_id, mask] : masks_by_label(semantic.labels))
    rows.emplace_back(Json::Object{{"class_id", class_id},
                                   {"class_name", spec.channel_name(class_id)},
                                   {"area", mask.area()},
                                   {"mask", encode_mask(mask, semantic.labels.size)}});
  return rows;
}

inline Json segments(const Panoptic& panoptic, const ModelSpec& spec) {
  const auto masks = masks_by_label(panoptic.panoptic_seg);
  Json::Array rows;
  for (const Segment& segment : panoptic.segments) {
    const auto found = masks.find(segment.id);
    const Mask mask = found == masks.end() ? Mask() : found->second;
    Json::Object row{{"id", segment.id}, {"isthing", segment.is_thing}, {"class_id", segment.category_id}};
    row.emplace_back("class_name",
                     segment.is_thing ? spec.class_name(segment.category_id) : spec.channel_name(segment.category_id));
    if (segment.score) row.emplace_back("score", static_cast<double>(*segment.score));
    if (segment.instance_id) row.emplace_back("instance_id", *segment.instance_id);
    row.emplace_back("area", mask.area());
    row.emplace_back("mask", encode_mask(mask, panoptic.panoptic_seg.size));
    rows.emplace_back(std::move(row));
  }
  return rows;
}

/// The members that a kind of result adds to file, height and width.
struct Members {
  const ModelSpec& spec;
  Size image;

  Json::Object operator()(const Instances& found) const { return {{"instances", instances(found, spec, image)}}; }
  Json::Object operator()(const Proposals& found) const { return {{"proposals", proposals(found)}}; }
  Json::Object operator()(const Semantic& found) const { return {{"classes", classes(found, spec)}}; }
  Json::Object operator()(const Panoptic& found) const {
    Json::Object members;
    if (found.instances) members.emplace_back("instances", instances(*found.instances, spec, image));
    members.emplace_back("segments_info", segments(found, spec));
    return members;
  }
};

}  // namespace written

/// One image's entry: pixels of the original image, contiguous class ids, masks as COCO RLE.
inline Json to_json(const Result& result, const ModelSpec& spec, const std::string& file, Size image) {
  Json::Object entry{{"file", file}, {"height", image.height}, {"width", image.width}};
  for (auto& member : std::visit(written::Members{spec, image}, result)) entry.push_back(std::move(member));
  return entry;
}

}  // namespace d2deploy
