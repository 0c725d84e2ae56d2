/// Which of many points each place is nearest to, by brute force in blocks that stay in the cache.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace d2deploy {

namespace nearest {

constexpr int TILE = 256;  // points at a time: of 16 numbers each 16 KB
constexpr int STEP = 4;    // coordinates at a time, so that sums are written a quarter as often as products are made
constexpr int LANES = 16;  // numbers that are compared at a time

/// TILE points: coordinate after coordinate, and |p|^2 of each; what is over at the end is infinitely far away.
struct Tile {
  const float* coordinates;  // [length, TILE]
  const float* squares;      // [TILE]
  std::int32_t first;        // the number of its first point
};

struct Best {
  float score = INFINITY;
  std::int32_t point = 0;
};

/// |p|^2 - 2 p.q of each point p of the tile: its squared distance from q, less |q|^2. `place`: -2 q.
inline __attribute__((always_inline)) void score_points(const Tile& tile, const float* place, int length,
                                                        float* __restrict scores) {
  std::copy_n(tile.squares, TILE, scores);
  for (int c = 0; c < length; c += STEP) {
    const float *a = tile.coordinates + c * TILE, *b = a + TILE, *d = b + TILE, *e = d + TILE;
    const float w = place[c], x = place[c + 1], y = place[c + 2], z = place[c + 3];
    for (int i = 0; i < TILE; ++i) scores[i] += w * a[i] + x * b[i] + (y * d[i] + z * e[i]);
  }
}

inline __attribute__((always_inline)) float lowest(const float* scores) {
  float low[LANES];
  std::copy_n(scores, LANES, low);
  for (int i = LANES; i < TILE; i += LANES)
    for (int lane = 0; lane < LANES; ++lane) low[lane] = scores[i + lane] < low[lane] ? scores[i + lane] : low[lane];
  return *std::min_element(low, low + LANES);
}

inline __attribute__((always_inline)) void search(const Tile& tile, const float* places, int length,
                                                  std::vector<Best>& found) {
  float scores[TILE];
  for (Best& best : found) {
    score_points(tile, places, length, scores);
    places += length;
    if (const float low = lowest(scores); low < best.score)
      best = {low, tile.first + static_cast<std::int32_t>(std::find(scores, scores + TILE, low) - scores)};
  }
}

using Search = void (*)(const Tile&, const float*, int, std::vector<Best>&);

inline void search_plain(const Tile& tile, const float* places, int length, std::vector<Best>& found) {
  search(tile, places, length, found);
}

#ifdef __x86_64__
/// The same code for wider registers, and still without fused multiply-add: the same numbers in half the time.
__attribute__((target("avx2"))) inline void search_wide(const Tile& tile, const float* places, int length,
                                                        std::vector<Best>& found) {
  search(tile, places, length, found);
}

inline Search fastest_search() { return __builtin_cpu_supports("avx2") ? search_wide : search_plain; }
#else
inline Search fastest_search() { return search_plain; }
#endif

}  // namespace nearest

/// Points float32 [count, length], to be asked for the nearest.
class NearestPoint {
 public:
  NearestPoint(const float* points, std::int64_t count, int length)
      : length_(length),
        padded_((length + nearest::STEP - 1) / nearest::STEP * nearest::STEP),
        squares_((count + nearest::TILE - 1) / nearest::TILE * nearest::TILE, INFINITY),
        coordinates_(squares_.size() * padded_) {
    for (std::int64_t i = 0; i < count; ++i) {
      float* tile = &coordinates_[i / nearest::TILE * nearest::TILE * padded_ + i % nearest::TILE];
      squares_[i] = 0;
      for (int c = 0; c < length; ++c) {
        const float number = points[i * length + c];
        tile[c * nearest::TILE] = number;
        squares_[i] += number * number;
      }
    }
  }

  /// The number of the point that is nearest to each of places [count, length], the first of equals.
  std::vector<std::int32_t> find(const std::vector<float>& places) const {
    const std::size_t count = places.size() / length_;
    std::vector<float> turned(count * padded_);
    for (std::size_t i = 0; i < count; ++i)
      for (int c = 0; c < length_; ++c) turned[i * padded_ + c] = -2 * places[i * length_ + c];
    std::vector<nearest::Best> found(count);
    const auto search = nearest::fastest_search();
    for (std::size_t first = 0; first < squares_.size(); first += nearest::TILE)
      search({&coordinates_[first * padded_], &squares_[first], static_cast<std::int32_t>(first)}, turned.data(),
             padded_, found);
    std::vector<std::int32_t> points;
    for (const nearest::Best& best : found) points.push_back(best.point);
    return points;
  }

 private:
  int length_, padded_;
  std::vector<float> squares_, coordinates_;
};

}  // namespace d2deploy
