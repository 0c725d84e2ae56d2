/// Classes, centres and offsets as one picture: Panoptic-DeepLab's own way. The rules of
/// src/d2deploy/postprocess/panoptic_deeplab.py.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "d2deploy/centers.hpp"
#include "d2deploy/manifest.hpp"
#include "d2deploy/maps.hpp"
#include "d2deploy/result.hpp"

namespace d2deploy {

class PanopticDeepLab {
 public:
  static constexpr std::int32_t LABEL_DIVISOR = 1000;  // of detectron2's panoptic data sets
  static constexpr std::int32_t VOID = -1;

  /// `center` [1, ...] and `offset` [2, ...] (y and x, pixels) belong to the maps of the classes, `sem_seg`.
  PanopticDeepLab(const Maps& sem_seg, const Maps& center, const Maps& offset, Size size,
                  const PanopticDeepLabRule& rule)
      : sem_seg_(sem_seg),
        size_(size),
        rule_(rule),
        labels_(find_labels(sem_seg, size)),
        owners_(size),
        heatmap_(enlarge(center, 0, size)) {
    const auto centers = find_centers(heatmap_, size, rule);
    if (!centers.empty()) group(centers, offset);
    vote(centers.size());
  }

  /// panoptic_seg is LABEL_DIVISOR * class, and for things plus 1, 2, ... within the class; VOID where nothing was
  /// found.
  Panoptic result() {
    Panoptic panoptic{Labels(size_, VOID), {}, {}};
    if (rule_.predict_instances) panoptic.instances = instances();
    for (std::size_t row = 0; row < things_.size(); ++row) {
      const Thing& thing = things_[row];
      panoptic.segments.push_back({thing.id, true, thing.class_id, {}, {}});
      if (!rule_.predict_instances) continue;
      panoptic.segments.back().score = thing.score;
      panoptic.segments.back().instance_id = static_cast<std::int64_t>(row);
    }
    for (std::int32_t class_id = 0; class_id < sem_seg_.count; ++class_id)
      if (is_stuff(class_id)) panoptic.segments.push_back({class_id * LABEL_DIVISOR, false, class_id, {}, {}});
    draw(panoptic.panoptic_seg);
    return panoptic;
  }

 private:
  /// A centre that owns a pixel.
  struct Thing {
    std::int32_t center;  // its number, from 1
    std::int32_t class_id;
    std::int32_t id;  // its value in panoptic_seg
    float score = 0;
  };

  /// Sums over a thing's pixels.
  struct Extent {
    int left = 1 << 30, top = 1 << 30, right = 0, bottom = 0;
    std::int64_t area = 0, rows = 0, columns = 0;
    double probability = 0;
  };

  std::size_t classes() const { return sem_seg_.count; }

  bool is_thing(std::int32_t class_id) const {
    return std::find(rule_.thing_ids.begin(), rule_.thing_ids.end(), class_id) != rule_.thing_ids.end();
  }

  bool is_stuff(std::int32_t class_id) const {
    const std::int64_t area = votes_[class_id];
    return !is_thing(class_id) && area >= std::max<std::int64_t>(rule_.stuff_area, 1);
  }

  /// To each pixel of a thing the centre nearest to it plus its offset.
  void group(const std::vector<Center>& centers, const Maps& offset) {
    EnlargedMaps enlarged(offset, size_);
    std::vector<float> down(size_.width), across(down.size());
    const std::set<std::int64_t> things(rule_.thing_ids.begin(), rule_.thing_ids.end());
    for (int y = 0; y < size_.height; ++y) {
      enlarged.row(0, y, down.data());
      enlarged.row(1, y, across.data());
      for (int x = 0; x < size_.width; ++x)
        if (things.count(labels_.row(y)[x]))
          owners_.row(y)[x] = find_nearest(down[x] + static_cast<float>(y), across[x] + static_cast<float>(x), centers);
    }
  }

  /// Which classes the pixels of nobody (first row of votes_) and of each centre have; a thing is of its most frequent.
  void vote(std::size_t centers) {
    votes_.assign((centers + 1) * classes(), 0);
    for (std::size_t i = 0; i < owners_.values.size(); ++i) ++votes_[owners_.values[i] * classes() + labels_.values[i]];
    std::vector<std::int32_t> seen(classes());
    for (std::size_t center = 1; center <= centers; ++center) {
      const auto first = votes_.begin() + static_cast<std::ptrdiff_t>(center * classes());
      const auto most = std::max_element(first, first + sem_seg_.count);
      if (*most == 0) continue;
      const auto class_id = static_cast<std::int32_t>(most - first);
      const std::int32_t number = ++seen[class_id];
      things_.push_back({static_cast<std::int32_t>(center), class_id, class_id * LABEL_DIVISOR + number});
    }
  }

  /// The things by falling score, and as detections in the same order. Score: the mean probability of its class,
  /// times the heat map at the middle of its pixels.
  Instances instances() {
    const auto extents = find_extents();
    for (Thing& thing : things_) {
      const Extent& extent = extents[thing.center];
      const std::int64_t middle = extent.rows / extent.area * size_.width + extent.columns / extent.area;
      const auto mean = static_cast<float>(extent.probability / static_cast<double>(extent.area));
      thing.score = mean * heatmap_[middle];
    }
    std::stable_sort(things_.begin(), things_.end(), [](const Thing& a, const Thing& b) { return a.score > b.score; });
    Instances found;
    for (const Thing& thing : things_) found.push_back(to_instance(thing, extents[thing.center]));
    return found;
  }

  Instance to_instance(const Thing& thing, const Extent& extent) const {
    Mask mask(extent.top, extent.left, extent.bottom - extent.top, extent.right - extent.left);
    for (int y = 0; y < mask.height; ++y)
      for (int x = 0; x < mask.width; ++x) mask.row(y)[x] = owners_.row(mask.top + y)[mask.left + x] == thing.center;
    std::vector<float> box{static_cast<float>(extent.left), static_cast<float>(extent.top),
                           static_cast<float>(extent.right), static_cast<float>(extent.bottom)};
    return {std::move(box), thing.score, thing.class_id, std::move(mask), {}, {}};
  }

  /// By number of the centre.
  std::vector<Extent> find_extents() const {
    std::vector<std::int32_t> class_of(votes_.size() / classes());
    for (const Thing& thing : things_) class_of[thing.center] = thing.class_id;
    std::vector<Extent> extents(class_of.size());
    EnlargedMaps enlarged(sem_seg_, size_);
    const std::size_t width = size_.width;
    std::vector<float> logits(classes() * width);
    for (int y = 0; y < size_.height; ++y) {
      for (std::size_t c = 0; c < classes(); ++c) enlarged.row(static_cast<int>(c), y, &logits[c * width]);
      for (int x = 0; x < size_.width; ++x) {
        const std::int32_t owner = owners_.row(y)[x];
        if (owner == 0) continue;
        Extent& e = extents[owner];
        e = {std::min(e.left, x),
             std::min(e.top, y),
             std::max(e.right, x + 1),
             std::max(e.bottom, y + 1),
             e.area + 1,
             e.rows + y,
             e.columns + x,
             e.probability + probability(&logits[x], class_of[owner])};
      }
    }
    return extents;
  }

  /// The share of a class in a softmax over the logits of one pixel, which lie a row apart.
  double probability(const float* logits, std::size_t class_id) const {
    const std::size_t width = size_.width;
    float highest = -INFINITY, sum = 0;
    for (std::size_t c = 0; c < classes(); ++c) highest = std::max(highest, logits[c * width]);
    for (std::size_t c = 0; c < classes(); ++c) sum += std::exp(logits[c * width] - highest);
    return std::exp(logits[class_id * width] - highest) / sum;
  }

  void draw(Labels& picture) const {
    std::vector<std::int32_t> of_center(votes_.size() / classes(), VOID), of_class(classes(), VOID);
    for (const Thing& thing : things_) of_center[thing.center] = thing.id;
    for (std::int32_t class_id = 0; class_id < sem_seg_.count; ++class_id)
      if (is_stuff(class_id)) of_class[class_id] = class_id * LABEL_DIVISOR;
    for (std::size_t i = 0; i < picture.values.size(); ++i) {
      const std::int32_t owner = owners_.values[i];
      picture.values[i] = owner > 0 ? of_center[owner] : of_class[labels_.values[i]];
    }
  }

  Maps sem_seg_;
  Size size_;
  PanopticDeepLabRule rule_;
  Labels labels_, owners_;
  std::vector<float> heatmap_;
  std::vector<std::int64_t> votes_;  // [1 + centres, classes]
  std::vector<Thing> things_;
};

}  // namespace d2deploy
