#pragma once

#include <stdexcept>

namespace d2deploy {

/// Bad input or surroundings. The message holds three facts: what was wrong, where, what to do.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace d2deploy
