/// Instances and semantic labels as one picture: Panoptic FPN's merge. The rule of
/// src/d2deploy/postprocess/panoptic.py.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <numeric>
#include <utility>
#include <vector>

#include "d2deploy/manifest.hpp"
#include "d2deploy/result.hpp"

namespace d2deploy {

namespace panoptic_merge {

/// Calls `paint` with each pixel of the picture that the mask has.
template <typename Paint>
void each_pixel(Labels& picture, const Mask& mask, Paint paint) {
  for (int y = 0; y < mask.height; ++y)
    for (int x = 0; x < mask.width; ++x)
      if (mask.row(y)[x]) paint(picture.row(mask.top + y)[mask.left + x]);
}

/// The instances that count, by falling score, each with the pixels that are still free.
inline void add_things(Panoptic& panoptic, const Instances& instances, const PanopticRule& rule) {
  std::vector<std::size_t> order(instances.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return instances[a].score > instances[b].score; });
  for (const std::size_t row : order) {
    const Instance& instance = instances[row];
    if (instance.score < rule.instance_score) return;
    const std::int64_t area = instance.mask->area();
    std::int64_t taken = 0;
    each_pixel(panoptic.panoptic_seg, *instance.mask, [&](std::int32_t id) { taken += id != 0; });
    if (area == 0 || static_cast<double>(taken) / static_cast<double>(area) > rule.overlap) continue;
    const auto id = static_cast<std::int32_t>(panoptic.segments.size() + 1);
    each_pixel(panoptic.panoptic_seg, *instance.mask, [&](std::int32_t& pixel) { pixel = pixel == 0 ? id : pixel; });
    panoptic.segments.push_back({id, true, instance.class_id, instance.score, static_cast<std::int64_t>(row)});
  }
}

/// The kinds of stuff with enough free pixels; label 0 means things.
inline void add_stuff(Panoptic& panoptic, const Labels& labels, const PanopticRule& rule) {
  auto& pixels = panoptic.panoptic_seg.values;
  std::map<std::int32_t, std::int64_t> areas;  // by label
  for (const std::int32_t label : labels.values) areas[label];
  for (std::size_t i = 0; i < pixels.size(); ++i) areas[labels.values[i]] += pixels[i] == 0;
  std::map<std::int32_t, std::int32_t> ids;
  for (const auto& [label, area] : areas) {
    if (label == 0 || area < rule.stuff_area) continue;
    ids[label] = static_cast<std::int32_t>(panoptic.segments.size() + 1);
    panoptic.segments.push_back({ids[label], false, label, {}, {}});
  }
  for (std::size_t i = 0; i < pixels.size(); ++i)
    if (const auto found = ids.find(labels.values[i]); pixels[i] == 0 && found != ids.end()) pixels[i] = found->second;
}

}  // namespace panoptic_merge

/// Ids count from 1: things, then stuff; what nobody took is 0. `instances` have masks.
inline Panoptic merge(Instances instances, const Labels& labels, const PanopticRule& rule) {
  Panoptic panoptic{Labels(labels.size), {}, {}};
  panoptic_merge::add_things(panoptic, instances, rule);
  panoptic_merge::add_stuff(panoptic, labels, rule);
  panoptic.instances = std::move(instances);
  return panoptic;
}

}  // namespace d2deploy
