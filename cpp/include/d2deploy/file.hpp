/// Files read whole, and written whole or not at all.
#pragma once

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <system_error>

#include <sys/stat.h>
#include <unistd.h>

#include "d2deploy/error.hpp"

namespace d2deploy {

namespace fs = std::filesystem;

/// The bytes of a file; only the first of them where those are of no use. Raises Error.
inline std::string read_file(const fs::path& path, bool (*is_of_use)(std::string_view start) = nullptr) {
  std::ifstream stream(path, std::ios::binary);
  std::string bytes;
  std::array<char, 1 << 16> chunk;
  while (stream.read(chunk.data(), chunk.size()) || stream.gcount() > 0) {
    bytes.append(chunk.data(), std::size_t(stream.gcount()));
    if (is_of_use && !is_of_use(bytes)) return bytes;
  }
  if (!stream.is_open() || stream.bad())
    throw Error(path.string() + " cannot be read: " + std::strerror(errno) + ". Check path and rights.");
  return bytes;
}

namespace writing {

[[noreturn]] inline void refuse(const fs::path& path, const std::string& why) {
  throw Error(path.string() + " cannot be written: " + why + ". Choose another place.");
}

inline bool write_all(int handle, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::write(handle, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return false;
    bytes.remove_prefix(std::size_t(count));
  }
  return true;
}

/// The rights that a new file has.
inline mode_t usual_rights() {
  const mode_t mask = ::umask(0);
  ::umask(mask);
  return 0666 & ~mask;
}

inline void replace(const fs::path& place, std::string_view bytes) {
  std::string beside = (place.parent_path() / ("." + place.filename().string() + "-XXXXXX")).string();
  const int handle = ::mkstemp(beside.data());
  if (handle < 0) refuse(place, std::strerror(errno));
  bool is_well = write_all(handle, bytes) && ::fchmod(handle, usual_rights()) == 0;
  is_well = ::close(handle) == 0 && is_well;
  if (is_well && ::rename(beside.c_str(), place.c_str()) == 0) return;
  const std::string why = std::strerror(errno);
  ::unlink(beside.c_str());
  refuse(place, why);
}

}  // namespace writing

/// Raises Error when file `path` could not be written. To be asked before long work, not after it.
inline void check_writable(const fs::path& path) {
  std::error_code none;
  if (fs::is_directory(path, none)) writing::refuse(path, "it is a folder");
  fs::path parent = fs::absolute(path).parent_path();
  while (!fs::exists(parent, none)) parent = parent.parent_path();
  if (!fs::is_directory(parent, none)) writing::refuse(path, "a file is where a folder must be");
  if (::access(parent.c_str(), W_OK) != 0 && !fs::exists(path, none)) writing::refuse(path, std::strerror(errno));
}

/// Write a whole file or none of it, with the folders that it needs. Raises Error.
inline void write_file(const fs::path& path, std::string_view bytes) {
  std::error_code error;
  const fs::path place = fs::weakly_canonical(fs::absolute(path), error);  // a link stays one
  if (error) writing::refuse(path, error.message());
  if (fs::exists(place) && !fs::is_regular_file(place) && !fs::is_directory(place)) {
    std::ofstream stream(place, std::ios::binary);  // a device or a pipe: to replace it would be to destroy it
    if (!stream.write(bytes.data(), static_cast<std::streamsize>(bytes.size())).flush())
      writing::refuse(path, std::strerror(errno));
    return;
  }
  fs::create_directories(place.parent_path(), error);
  if (error) writing::refuse(path, error.message());
  writing::replace(place, bytes);
}

}  // namespace d2deploy
