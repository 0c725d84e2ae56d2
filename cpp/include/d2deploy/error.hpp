#pragma once

#include <iostream>
#include <sstream>
#include <stdexcept>
#include <string>

namespace d2deploy {

/// Bad input or surroundings. The message holds three facts: what was wrong, where, what to do.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// What a library says was wrong, as a part of a message: without its own full stop.
inline std::string reason(const std::string& text) { return text.substr(0, text.find_last_not_of(" .\n") + 1); }

/// What a program does about it: one line on stderr. Returns its exit code.
inline int report(const std::string& message) {
  std::istringstream words(message);
  std::string word;
  std::cerr << "error:";
  while (words >> word) std::cerr << ' ' << word;
  std::cerr << std::endl;
  return 2;
}

}  // namespace d2deploy
