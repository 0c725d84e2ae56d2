/// From what a Caffe2 net gives to what the manifest promises: the rules of src/d2deploy/backends/caffe2/runner.py.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "d2deploy/tensor.hpp"

namespace d2deploy {

namespace caffe2_rows {

using Rows = std::vector<std::int64_t>;

/// Outputs that only change their order, and how many axes they have.
constexpr std::pair<const char*, std::size_t> FLOAT_ROWS[] = {
    {"boxes", 2},
    {"scores", 1},
    {"keypoint_heatmaps", 4},
    {"proposal_boxes", 2},
    {"objectness_logits", 1},
    {"coarse_segm", 4},
    {"fine_segm", 4},
    {"u", 4},
    {"v", 4},
    {"sigma_2", 4},
    {"kappa_u", 4},
    {"kappa_v", 4},
    {"fine_segm_confidence", 4},
    {"coarse_segm_confidence", 4},
    {"embedding", 4}};

/// Some rows of float32 [R,...], in the order of `rows`.
inline Tensor take(const float* data, Shape shape, const Rows& rows) {
  const auto length = std::accumulate(shape.begin() + 1, shape.end(), std::int64_t{1}, std::multiplies<>());
  std::vector<float> taken;
  taken.reserve(rows.size() * std::size_t(length));
  for (const std::int64_t row : rows) taken.insert(taken.end(), data + row * length, data + (row + 1) * length);
  shape[0] = static_cast<std::int64_t>(rows.size());
  return to_tensor<float>(std::move(shape), std::move(taken));
}

template <typename T>
Tensor whole_numbers(const T* numbers, const Rows& rows) {
  std::vector<std::int64_t> taken;
  for (const std::int64_t row : rows) taken.push_back(static_cast<std::int64_t>(numbers[row]));
  return to_tensor<std::int64_t>({static_cast<std::int64_t>(rows.size())}, std::move(taken));
}

/// The number of its image for each row; the net says how many each image has.
inline Rows image_of_rows(const Outputs& made, std::int64_t count) {
  const float* counts = made.get<float>("image_index", 1);
  Rows images;
  for (std::int64_t image = 0; image < made.shape("image_index")[0]; ++image) {
    made.check("image_index", counts[image] >= 0 && counts[image] <= static_cast<float>(count));
    images.insert(images.end(), static_cast<std::size_t>(counts[image]), image);
  }
  made.check("image_index", static_cast<std::int64_t>(images.size()) == count);
  return images;
}

/// Images in order, in each the best first; equals stay in the net's order.
inline Rows best_first(const Rows& images, const float* scores) {
  Rows order(images.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) {
    return images[a] != images[b] ? images[a] < images[b] : scores[a] > scores[b];
  });
  return order;
}

/// The own class's masks [D,M,M] of those of every class [D,K,M,M], or K = 1 of all of them.
inline Tensor own_masks(const Outputs& made, const Rows& order) {
  const Shape& shape = made.shape("mask_probs");
  const float* masks = made.get<float>("mask_probs", 4);
  const float* classes = made.get<float>("classes", 1);
  Rows rows;
  for (const std::int64_t row : order) {
    const auto own = shape[1] > 1 ? static_cast<std::int64_t>(classes[row]) : 0;
    made.check("mask_probs", own >= 0 && own < shape[1]);
    rows.push_back(row * shape[1] + own);
  }
  return take(masks, {shape[0] * shape[1], shape[2], shape[3]}, rows);
}

}  // namespace caffe2_rows

/// The core's outputs (docs/architecture.md) of a net's, which have those names already. Raises Error.
inline Outputs core_outputs(const Outputs& made) {
  if (!made.has("image_index")) return made;
  const std::string ranked_by = made.has("scores") ? "scores" : "objectness_logits";
  const float* scores = made.get<float>(ranked_by, 1);
  const caffe2_rows::Rows images = caffe2_rows::image_of_rows(made, made.shape(ranked_by)[0]);
  const caffe2_rows::Rows order = caffe2_rows::best_first(images, scores);
  for (const char* name : {"classes", "mask_probs"})
    if (made.has(name)) made.check_rows({ranked_by, name});
  Outputs core = made;
  core.add("image_index", caffe2_rows::whole_numbers(images.data(), order));
  if (made.has("classes")) core.add("classes", caffe2_rows::whole_numbers(made.get<float>("classes", 1), order));
  if (made.has("mask_probs")) core.add("mask_probs", caffe2_rows::own_masks(made, order));
  for (const auto& [name, rank] : caffe2_rows::FLOAT_ROWS) {
    if (!made.has(name)) continue;
    made.check_rows({ranked_by, name});
    core.add(name, caffe2_rows::take(made.get<float>(name, rank), made.shape(name), order));
  }
  return core;
}

}  // namespace d2deploy
