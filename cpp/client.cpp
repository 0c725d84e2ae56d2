#include "d2deploy/client.hpp"

#include <algorithm>
#include <cctype>
#include <cstddef>
#include <exception>
#include <iostream>
#include <map>
#include <new>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <variant>
#include <vector>

#include "d2deploy/arguments.hpp"
#include "d2deploy/draw.hpp"
#include "d2deploy/image.hpp"
#include "d2deploy/json.hpp"
#include "d2deploy/png.hpp"
#include "d2deploy/predict.hpp"
#include "d2deploy/written.hpp"

namespace d2deploy {

namespace {

Artifact open_artifact(const fs::path& path, const Runtime& runtime) {
  Artifact artifact = read_artifact(path);
  const std::string& format = artifact.manifest.format;
  static const std::map<std::string, std::string> programs{
      {"torchscript", "d2deploy_torchscript"},
      {"onnx", "d2deploy_onnxruntime"},
      {"openvino", "d2deploy_openvino"},
      {"caffe2", "d2deploy_caffe2"}};
  if (format != runtime.format) {
    const auto other = programs.find(format);
    throw Error("The artifact " + path.string() + " has the format " + format + "; " + runtime.program + " runs " +
                runtime.format + ". " +
                (other == programs.end() ? "Run it from Python." : "Run " + other->second + "."));
  }
  if (artifact.manifest.is_like_detectron2)
    throw Error("The artifact " + path.string() +
                " has the signature of detectron2, for programs that were written for that. Export it without.");
  check_spec(artifact.spec());
  return artifact;
}

const std::vector<std::string> PICTURES{".png"};
const std::vector<std::string> OTHER_PICTURES{".bmp", ".gif", ".jpeg", ".jpg", ".ppm", ".tif", ".tiff", ".webp"};

bool is_picture(const fs::path& path, const std::vector<std::string>& endings = PICTURES) {
  std::string ending = path.extension().string();
  std::transform(ending.begin(), ending.end(), ending.begin(), [](unsigned char c) { return std::tolower(c); });
  return std::count(endings.begin(), endings.end(), ending) > 0 && !fs::is_directory(path);
}

/// A picture's path for each image: `output` itself for one image, else <output>/<name>.png, all different.
std::vector<fs::path> picture_paths(const fs::path& output, const std::vector<fs::path>& images) {
  if (is_picture(output) && images.size() > 1)
    throw Error(output.string() + " is one picture, but " + std::to_string(images.size()) +
                " images were given. Give a folder as --output.");
  if (is_picture(output)) return {output};
  if (is_picture(output, OTHER_PICTURES))
    throw Error(output.string() + " cannot be written: pictures are PNG files. Choose .png, or a folder.");
  std::vector<fs::path> paths;
  for (const fs::path& image : images) {
    fs::path path = output / (image.stem().string() + ".png");
    for (int number = 2; std::count(paths.begin(), paths.end(), path); ++number)
      path = output / (image.stem().string() + "-" + std::to_string(number) + ".png");
    paths.push_back(path);
  }
  return paths;
}

/// Raises Error when a result would replace one of the images, or could not be written.
void check_target(const fs::path& target, const std::vector<fs::path>& images) {
  std::error_code none;
  for (const fs::path& image : images)
    if (fs::equivalent(target, image, none))
      throw Error(target.string() + " is one of the images and would be replaced. Choose another file.");
  check_writable(target);
}

/// "3 detections (2 circle, 1 star)"
struct Summary {
  const ModelSpec& spec;

  std::string operator()(const Instances& found) const {
    std::vector<std::pair<std::string, int>> kinds;
    for (const Instance& instance : found) add(kinds, spec.class_name(instance.class_id));
    return std::to_string(found.size()) + " detections" + in_brackets(std::move(kinds));
  }
  std::string operator()(const Proposals& found) const { return std::to_string(found.size()) + " proposals"; }
  std::string operator()(const Semantic& found) const {
    return std::to_string(masks_by_label(found.labels).size()) + " classes";
  }
  std::string operator()(const Panoptic& found) const {
    std::vector<std::pair<std::string, int>> kinds;
    for (const Segment& segment : found.segments)
      add(kinds, segment.is_thing ? spec.class_name(segment.category_id) : spec.channel_name(segment.category_id));
    return std::to_string(found.segments.size()) + " segments" + in_brackets(std::move(kinds));
  }

 private:
  static void add(std::vector<std::pair<std::string, int>>& kinds, const std::string& name) {
    const auto place = std::find_if(kinds.begin(), kinds.end(), [&](const auto& kind) { return kind.first == name; });
    if (place == kinds.end())
      kinds.emplace_back(name, 1);
    else
      ++place->second;
  }

  static std::string in_brackets(std::vector<std::pair<std::string, int>> kinds) {
    std::stable_sort(kinds.begin(), kinds.end(), [](const auto& a, const auto& b) { return a.second > b.second; });
    std::string text;
    for (const auto& [name, count] : kinds) text += (text.empty() ? "" : ", ") + std::to_string(count) + " " + name;
    return text.empty() ? "" : " (" + text + ")";
  }
};

void run(const Arguments& arguments, const Runtime& runtime) {
  const auto& images = arguments.images;
  const bool is_json_printed = arguments.json == STDOUT;
  const auto pictures = arguments.output.empty() ? std::vector<fs::path>{} : picture_paths(arguments.output, images);
  for (const fs::path& picture : pictures) check_target(picture, images);
  if (!arguments.json.empty() && !is_json_printed) check_target(arguments.json, images);
  const Artifact artifact = open_artifact(arguments.artifact, runtime);
  const Runner runner = runtime.load(artifact);
  Json::Array entries;
  for (std::size_t i = 0; i < images.size(); ++i) {
    const Image image = read_image(images[i]);
    const Result result = predict(runner, artifact.spec(), image);
    entries.push_back(to_json(result, artifact.spec(), images[i].string(), {image.height, image.width}));
    if (!pictures.empty())
      write_file(pictures[i], write_png(draw_result(image, result, artifact.spec(), arguments.min_score)));
    if (!is_json_printed)
      std::cout << images[i].string() << ": " << std::visit(Summary{artifact.spec()}, result)
                << (pictures.empty() ? "" : " -> " + pictures[i].string()) << std::endl;
  }
  const std::string text = Json(Json::Object{{"images", std::move(entries)}}).dump() + "\n";
  if (is_json_printed)
    std::cout << text << std::flush;
  else if (!arguments.json.empty())
    write_file(arguments.json, text);
}

constexpr const char* TOO_LARGE = "The memory does not suffice. Give smaller images.";

}  // namespace

int run_client(int count, char** words, const Runtime& runtime) {
  try {
    const Arguments arguments = read_arguments({words + 1, words + count});
    if (arguments.is_help)
      std::cout << help(runtime.program);
    else
      run(arguments, runtime);
    return 0;
  } catch (const UsageError& error) {
    return report(error.what() + (" See " + runtime.program + " --help."));
  } catch (const std::bad_alloc&) {
    return report(TOO_LARGE);
  } catch (const std::length_error&) {  // more than any memory holds
    return report(TOO_LARGE);
  } catch (const std::exception& error) {
    return report(error.what());
  }
}

}  // namespace d2deploy
