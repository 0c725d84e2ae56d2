/// Results as JSON: what `d2deploy predict --json` writes (src/d2deploy/results/written.py).
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "d2deploy/json.hpp"
#include "d2deploy/manifest.hpp"
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
