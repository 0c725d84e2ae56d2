/// The command line of a client.
#pragma once

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include "d2deploy/error.hpp"
#include "d2deploy/file.hpp"

namespace d2deploy {

/// What is wrong with a command line; the help is one word away.
class UsageError : public Error {
 public:
  using Error::Error;
};

struct Arguments {
  fs::path artifact;
  std::vector<fs::path> images;
  fs::path json;    // empty: none; "-": stdout
  fs::path output;  // empty: none; a picture for one image, a folder for several
  double min_score = 0.5;
  bool is_help = false;
};

constexpr std::string_view STDOUT = "-";

inline std::string help(const std::string& program) {
  return "Usage: " + program +
         " ARTIFACT IMAGE... [--json FILE] [--output FILE] [--min-score NUMBER]\n\n"
         "Detect objects on PNG and JPEG images with the artifact that `d2deploy export` wrote.\n\n"
         "  --json FILE         Write all detections there; - for stdout.\n"
         "  --output FILE       Drawn: a .png file for one image, a folder for several.\n"
         "  --min-score NUMBER  Draw detections from here up; 0.5 when not given.\n"
         "  --help              Show this.\n";
}

namespace command_line {

inline double number(std::string_view option, std::string_view text) {
  double value = 0;
  const auto read = std::from_chars(text.data(), text.data() + text.size(), value);
  if (read.ec != std::errc() || read.ptr != text.data() + text.size())
    throw UsageError(std::string(option) + " needs a number, not '" + std::string(text) + "'.");
  return value;
}

constexpr std::string_view OPTIONS[] = {"--json", "--output", "--min-score"};

inline void set(Arguments& found, const std::string& option, const std::string& value) {
  if (option == "--json")
    found.json = value;
  else if (option == "--output")
    found.output = value;
  else
    found.min_score = number(option, value);
}

}  // namespace command_line

/// `words`: without the program's name; `--option value` or `--option=value`; after `--` no options. Raises UsageError.
inline Arguments read_arguments(const std::vector<std::string>& words) {
  Arguments found;
  std::vector<fs::path> paths;
  bool has_options = true;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    if (!has_options || word.size() < 2 || word[0] != '-') {
      paths.emplace_back(word);
    } else if (word == "--") {
      has_options = false;
    } else if (word == "--help" || word == "-h") {
      found.is_help = true;
      return found;
    } else {
      const auto equals = word.find('=');
      const std::string option = word.substr(0, equals);
      const bool has_value = equals != std::string::npos || i + 1 < words.size();
      if (std::count(std::begin(command_line::OPTIONS), std::end(command_line::OPTIONS), option) == 0)
        throw UsageError("There is no option " + option + ".");
      if (!has_value) throw UsageError(option + " needs a value.");
      command_line::set(found, option, equals != std::string::npos ? word.substr(equals + 1) : words[++i]);
    }
  }
  if (paths.size() < 2) throw UsageError("Give an artifact and then images.");
  found.artifact = paths.front();
  found.images.assign(paths.begin() + 1, paths.end());
  return found;
}

}  // namespace d2deploy
