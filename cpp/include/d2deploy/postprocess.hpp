/// Which result a network's outputs make, and the result: the table of src/d2deploy/postprocess/kinds.py.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "d2deploy/boxes.hpp"
#include "d2deploy/dense_pose.hpp"
#include "d2deploy/finished.hpp"
#include "d2deploy/inputs.hpp"
#include "d2deploy/keypoints.hpp"
#include "d2deploy/manifest.hpp"
#include "d2deploy/maps.hpp"
#include "d2deploy/masks.hpp"
#include "d2deploy/panoptic.hpp"
#include "d2deploy/panoptic_deeplab.hpp"
#include "d2deploy/result.hpp"
#include "d2deploy/tensor.hpp"

namespace d2deploy {

namespace kinds {

/// An output [rows, 4] x1 y1 x2 y2 or [rows, 5] center, size, degrees.
struct BoxRows {
  const float* data;
  std::int64_t rows, length;

  BoxRows(const Outputs& outputs, const std::string& name)
      : data(outputs.get<float>(name, 2)), rows(outputs.shape(name)[0]), length(outputs.shape(name)[1]) {
    outputs.check(name, length == 4 || length == 5);
  }
  const float* row(std::int64_t i) const { return data + i * length; }
};

/// An output [rows, side, side] or [rows, count, side, side]; nothing where the model has none of that name.
struct SquareRows {
  const float* data = nullptr;
  int count = 1, side = 0;

  SquareRows(const Outputs& outputs, const std::string& name, std::size_t rank, std::int64_t rows) {
    if (!outputs.has(name)) return;
    data = outputs.get<float>(name, rank);
    const Shape& shape = outputs.shape(name);
    outputs.check(name, shape[0] == rows && shape[rank - 1] == shape[rank - 2] && shape[rank - 1] > 0);
    side = static_cast<int>(shape[rank - 1]);
    if (rank == 4) count = static_cast<int>(shape[1]);
  }
  explicit operator bool() const { return side > 0; }
  const float* row(std::int64_t i) const { return data + i * count * side * side; }
};

inline std::vector<Keypoint> keypoints_on_image(const SquareRows& maps, std::int64_t row, const float* box,
                                                const Frame& frame) {
  auto points = find_keypoints(maps.row(row), maps.count, maps.side, box);
  for (Keypoint& point : points) {
    point.x *= frame.scale_x();
    point.y *= frame.scale_y();
  }
  return points;
}

/// Where a detection's mask lies: in its box, or in mask_boxes if the model gives such, scaled and not clipped.
inline std::vector<float> mask_box(const float* mask_boxes, std::int64_t row, const std::vector<float>& box,
                                   const Frame& frame) {
  if (!mask_boxes) return box;
  const float* given = mask_boxes + row * 4;
  return {given[0] * frame.scale_x(), given[1] * frame.scale_y(), given[2] * frame.scale_x(),
          given[3] * frame.scale_y()};
}

inline Instances instances(const Outputs& outputs, const ModelSpec& spec, const Frame& frame) {
  const BoxRows boxes(outputs, "boxes");
  const SquareRows probs(outputs, "mask_probs", 3, boxes.rows), heatmaps(outputs, "keypoint_heatmaps", 4, boxes.rows);
  const Surfaces surfaces(outputs, spec.meshes, boxes.rows);
  if (surfaces) outputs.check("boxes", boxes.length == 4);
  outputs.check_rows({"boxes", "scores", "classes"});
  const float* mask_boxes = outputs.has("mask_boxes") ? outputs.get<float>("mask_boxes", 2) : nullptr;
  if (mask_boxes) outputs.check("mask_boxes", outputs.shape("mask_boxes") == Shape{boxes.rows, 4});
  const float* scores = outputs.get<float>("scores", 1);
  const std::int64_t* classes = outputs.get<std::int64_t>("classes", 1);
  Instances found;
  for (std::int64_t row = 0; row < boxes.rows; ++row) {
    const auto box = rescale_box(boxes.row(row), boxes.length, frame);
    if (!box) continue;
    Instance instance{*box, scores[row], classes[row], {}, {}, {}};
    if (probs) {
      const auto place = mask_box(mask_boxes, row, *box, frame);
      instance.mask = paste_mask(probs.row(row), probs.side, place, frame.image_size);
    }
    if (heatmaps) instance.keypoints = keypoints_on_image(heatmaps, row, boxes.row(row), frame);
    if (surfaces) instance.dense_pose = surfaces.on(*box, row, classes[row]);
    found.push_back(std::move(instance));
  }
  return found;
}

inline Proposals proposals(const Outputs& outputs, const Frame& frame) {
  const BoxRows boxes(outputs, "proposal_boxes");
  outputs.check_rows({"proposal_boxes", "objectness_logits"});
  const float* logits = outputs.get<float>("objectness_logits", 1);
  Proposals found;
  for (std::int64_t row = 0; row < boxes.rows; ++row)
    if (auto box = rescale_box(boxes.row(row), boxes.length, frame)) found.push_back({std::move(*box), logits[row]});
  return found;
}

/// An output [1, count, H, W] at the padded size of the network's input, without the padding. At least `least` maps.
inline Maps maps(const Outputs& outputs, const std::string& name, const Frame& frame, int least = 1) {
  const float* data = outputs.get<float>(name, 4);
  const auto& shape = outputs.shape(name);
  const Size padded{static_cast<int>(shape[2]), static_cast<int>(shape[3])};
  const bool is_large = padded.height >= frame.input_size.height && padded.width >= frame.input_size.width;
  outputs.check(name, shape[0] == 1 && shape[1] >= least && is_large);
  return {data, static_cast<int>(shape[1]), frame.input_size, padded};
}

inline Result make_instances(const Outputs& outputs, const ModelSpec& spec, const Frame& frame) {
  return instances(outputs, spec, frame);
}

inline Result make_proposals(const Outputs& outputs, const ModelSpec&, const Frame& frame) {
  return proposals(outputs, frame);
}

inline Result make_semantic(const Outputs& outputs, const ModelSpec&, const Frame& frame) {
  return Semantic{find_labels(maps(outputs, "sem_seg", frame), frame.image_size)};
}

inline Result make_panoptic(const Outputs& outputs, const ModelSpec& spec, const Frame& frame) {
  const auto labels = find_labels(maps(outputs, "sem_seg", frame), frame.image_size);
  return merge(instances(outputs, spec, frame), labels, *spec.panoptic);
}

inline Result make_panoptic_deeplab(const Outputs& outputs, const ModelSpec& spec, const Frame& frame) {
  const Maps sem_seg = maps(outputs, "sem_seg", frame), center = maps(outputs, "center", frame);
  return PanopticDeepLab(sem_seg, center, maps(outputs, "offset", frame, 2), frame.image_size, *spec.panoptic_deeplab)
      .result();
}

inline Result make_finished_instances(const Outputs& outputs, const ModelSpec&, const Frame& frame) {
  return finished_instances(outputs, frame.image_size);
}

inline Result make_finished_proposals(const Outputs& outputs, const ModelSpec&, const Frame&) {
  return finished_proposals(outputs);
}

inline Result make_finished_semantic(const Outputs& outputs, const ModelSpec&, const Frame& frame) {
  return finished_semantic(outputs, frame.image_size);
}

inline Result make_finished_panoptic(const Outputs& outputs, const ModelSpec&, const Frame& frame) {
  return finished_panoptic(outputs, frame.image_size);
}

inline bool always(const ModelSpec&) { return true; }
inline bool has_panoptic(const ModelSpec& spec) { return spec.panoptic.has_value(); }
inline bool has_panoptic_deeplab(const ModelSpec& spec) { return spec.panoptic_deeplab.has_value(); }

/// One kind of network, by what comes out of it.
struct Kind {
  std::vector<std::string> outputs;    // that must be there
  bool (*has_rule)(const ModelSpec&);  // what else must be
  Result (*make)(const Outputs&, const ModelSpec&, const Frame&);
};

/// Read from the top: the first that fits. What needs more stands above what needs less.
inline const std::vector<Kind>& table(bool is_finished) {
  static const std::vector<Kind> kinds{
      {{"boxes", "scores", "classes", "mask_probs", "sem_seg"}, has_panoptic, make_panoptic},
      {{"boxes", "scores", "classes"}, always, make_instances},
      {{"proposal_boxes", "objectness_logits"}, always, make_proposals},
      {{"sem_seg", "center", "offset"}, has_panoptic_deeplab, make_panoptic_deeplab},
      {{"sem_seg"}, always, make_semantic},
  };
  static const std::vector<Kind> finished{
      {{"boxes", "scores", "classes", "panoptic_seg", "segments"}, always, make_finished_panoptic},
      {{"boxes", "scores", "classes"}, always, make_finished_instances},
      {{"proposal_boxes", "objectness_logits"}, always, make_finished_proposals},
      {{"labels"}, always, make_finished_semantic},
  };
  return is_finished ? finished : kinds;
}

inline const Kind* find(const ModelSpec& spec) {
  for (const Kind& kind : table(spec.includes_postprocess)) {
    const bool has_all = std::all_of(kind.outputs.begin(), kind.outputs.end(),
                                     [&](const std::string& name) { return spec.has_output(name); });
    if (has_all && kind.has_rule(spec)) return &kind;
  }
  return nullptr;
}

/// Outputs that have a row for each box.
inline const std::vector<std::string> ROWS{
    "boxes",
    "scores",
    "classes",
    "mask_probs",
    "mask_boxes",
    "keypoint_heatmaps",
    "coarse_segm",
    "fine_segm",
    "u",
    "v",
    "sigma_2",
    "kappa_u",
    "kappa_v",
    "fine_segm_confidence",
    "coarse_segm_confidence",
    "embedding",
    "proposal_boxes",
    "objectness_logits",
};

/// From the padded form, as many rows for each image and their count, to the ragged one; nothing to do for others.
inline void to_ragged(Outputs& outputs) {
  for (const std::string count : {"num_detections", "num_proposals"}) {
    if (!outputs.has(count)) continue;
    const std::int64_t* rows = outputs.get<std::int64_t>(count, 1);
    outputs.check(count, outputs.shape(count)[0] == 1);
    outputs.cut_rows(*rows, ROWS);
  }
}

}  // namespace kinds

/// Raises Error when the model takes or gives something that no result can be made of.
inline void check_spec(const ModelSpec& spec) {
  check_inputs(spec);
  if (kinds::find(spec)) return;
  std::string outputs;
  for (const TensorSpec& tensor : spec.outputs) outputs += (outputs.empty() ? "" : ", ") + tensor.name;
  throw Error("The model (" + spec.meta_architecture + ") gives " + outputs +
              ", which make no result that this program knows. Run it from Python.");
}

/// What the network says about an image. Raises Error: outputs that are not what the manifest promises.
inline Result to_result(Outputs outputs, const ModelSpec& spec, const Frame& frame) {
  kinds::to_ragged(outputs);
  return kinds::find(spec)->make(outputs, spec, frame);
}

}  // namespace d2deploy
