#pragma once

#include <algorithm>
#include <iostream>
#include <stdexcept>
#include <string>

namespace d2deploy {

/// Bad input or surroundings. The message holds three facts: what was wrong, where, what to do.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// What a program does about it: one line on stderr. Returns its exit code.
inline int report(std::string message) {
  std::replace(message.begin(), message.end(), '\n', ' ');
  std::cerr << "error: " << message << std::endl;
  return 2;
}

}  // namespace d2deploy
