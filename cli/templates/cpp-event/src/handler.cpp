// Greets whoever the event names: its data is a name, as plain text.
#include "wasmill.hpp"

static wasmill::Result greet(const wasmill::Event &event) {
  const auto name = event.data.value_or("");
  if (name.empty()) return wasmill::Result::reject("the event names nobody");

  const auto greeting = "Hello, " + std::string(name) + "!";
  wasmill::log(WASMILL_INFO, "greeted", {{"length", std::to_string(greeting.size())}});
  return wasmill::Result::success(greeting, "text/plain; charset=utf-8");
}

WASMILL_HANDLER(greet)
