#include <cassert>
#include <chrono>
#include <clocale>
#include <iostream>
#include <random>

#include "wasmill.hpp"

static int recurse(volatile int depth) { return 1 + recurse(depth + 1) + depth; }

static wasmill::Result probe(const wasmill::Event &event) {
  static int calls;
  const auto way = event.data.value_or("");
  if (way == "random") {
    std::random_device device;
    return wasmill::Result::success("\"" + std::to_string(device()) + " " + std::to_string(device()) + "\"");
  }
  if (way == "print") std::cout << "call " << ++calls;
  if (way == "text") {
    wasmill::log(WASMILL_INFO, "\xff in a log", {{"field", "\"\xff\""}});
    return wasmill::Result::reject("\xff in a reason");
  }
  if (way == "facts") {
    const auto before = std::chrono::steady_clock::now();
    const timespec pause = {0, 20000000};
    nanosleep(&pause, nullptr);
    const bool slept = std::chrono::steady_clock::now() - before >= std::chrono::milliseconds(15);
    std::string line;
    const bool has_input = static_cast<bool>(std::getline(std::cin, line));
    const auto word = [](bool value) { return value ? "true" : "false"; };
    return wasmill::Result::success(std::string("{\"slept\": ") + word(slept) + ", \"stdin\": " + word(has_input) + ", \"locale\": \"" + std::setlocale(LC_ALL, nullptr) + "\"}");
  }
  assert(way != "check");
  if (way == "recurse") recurse(0);
  return wasmill::Result::success("null");
}

WASMILL_HANDLER(probe)
