/// The artifact: a folder with the model file(s) and a manifest.json that says everything about them.
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <string>

#include "d2deploy/error.hpp"
#include "d2deploy/file.hpp"
#include "d2deploy/json_read.hpp"
#include "d2deploy/manifest.hpp"
#include "d2deploy/sha256.hpp"

namespace d2deploy {

/// An artifact folder on disk, its manifest read.
struct Artifact {
  fs::path path;
  Manifest manifest;

  const ModelSpec& spec() const { return manifest.spec; }
  fs::path file() const { return path / manifest.file; }
};

namespace artifact_checks {

inline bool is_inside(const fs::path& name) {
  return name.is_relative() && std::find(name.begin(), name.end(), "..") == name.end();
}

inline void check_hash(const fs::path& file, const std::string& expected) {
  if (!fs::is_regular_file(file)) throw Error(file.string() + " is missing. Export again, or copy the whole folder.");
  std::ifstream stream(file, std::ios::binary);
  if (!stream)
    throw Error(file.string() + " cannot be read: " + std::strerror(errno) + ". Check your rights to read it.");
  if (sha256(stream) != expected)
    throw Error(
        file.string() +
        " is not the file that was exported: its SHA-256 differs from manifest.json's. Export again, or copy the "
        "folder again.");
}

}  // namespace artifact_checks

/// The artifact in folder `path`, its files checked against their hashes.
///
/// Raises Error: no such folder, no manifest, unreadable, newer schema, changed file.
inline Artifact read_artifact(const fs::path& path) {
  const fs::path file = path / "manifest.json";
  if (!fs::is_regular_file(file))
    throw Error(path.string() +
                " is not an artifact: it has no manifest.json. Give the folder that export wrote, such as out/onnx.");
  Artifact artifact{path, {}};
  std::int64_t schema = 0;
  try {
    const Json json = read_json(read_file(file));
    schema = json.at("schema").whole("schema");
    if (schema <= SCHEMA) artifact.manifest = to_manifest(json);
  } catch (const Error& error) {
    throw Error(file.string() + " cannot be read as a manifest (" + error.what() + "). Export again.");
  }
  if (schema > SCHEMA)
    throw Error(file.string() + " has schema " + std::to_string(schema) + "; this program reads up to " +
                std::to_string(SCHEMA) + ". Build it from a newer d2deploy.");
  const auto& hashes = artifact.manifest.hashes;
  const bool is_outside = std::any_of(hashes.begin(), hashes.end(),
                                      [](const auto& pair) { return !artifact_checks::is_inside(pair.first); });
  if (hashes.count(artifact.manifest.file) == 0 || is_outside)
    throw Error(file.string() + " names files outside its folder, or a model file without a hash. Export again.");
  for (const auto& [name, digest] : hashes) artifact_checks::check_hash(path / name, digest);
  return artifact;
}

}  // namespace d2deploy
