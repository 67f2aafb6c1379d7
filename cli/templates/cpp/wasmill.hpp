// The contract of wasmill:function for C++: a handler takes a `wasmill::Event` and returns a `wasmill::Result`; WASMILL_HANDLER names it.
#pragma once

#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "wasmill.h"

namespace wasmill {

using Fields = std::vector<std::pair<std::string, std::string>>;

namespace detail {
inline std::string_view view(wasmill_bytes bytes) { return {bytes.data, bytes.length}; }
inline std::optional<std::string_view> view(const wasmill_option &option) {
  return option.is_some ? std::optional(view(option.value)) : std::nullopt;
}
// A copy that lives until the end of the call.
inline wasmill_bytes keep(std::string_view text) {
  auto *copy = static_cast<char *>(wasmill_allocate(text.size()));
  std::memcpy(copy, text.data(), text.size());
  return {copy, text.size()};
}
inline wasmill_option keep_option(const std::optional<std::string> &text) { return text ? wasmill_some(keep(*text)) : wasmill_option{}; }
}  // namespace detail

// An event as CloudEvents 1.0 has it. Its views are good until the handler returns.
struct Event {
  std::string_view id, source, type;
  std::optional<std::string_view> subject, time, dataschema, datacontenttype, data;
  Fields extensions;

  explicit Event(const wasmill_event &event)
      : id(detail::view(event.id)), source(detail::view(event.source)), type(detail::view(event.type)),
        subject(detail::view(event.subject)), time(detail::view(event.time)), dataschema(detail::view(event.dataschema)),
        datacontenttype(detail::view(event.datacontenttype)), data(detail::view(event.data)) {
    for (size_t i = 0; i < event.extensions.count; i++) {
      const auto &[name, value] = event.extensions.items[i];
      extensions.emplace_back(detail::view(name), detail::view(value));
    }
  }
};

// An event to publish if the result commits.
struct Emitted {
  std::string type, data;
  std::string datacontenttype = "application/json";
  std::optional<std::string> source = {}, subject = {};
};

// What a handler made of its event.
class Result {
 public:
  static Result success(std::string_view data, std::string_view content_type = "application/json") {
    Result made;
    made.raw.value.output.content_type = wasmill_some(detail::keep(content_type));
    made.raw.value.output.data = detail::keep(data);
    return made;
  }

  // The event will never work; the reason is for the operator.
  static Result reject(std::string_view reason) {
    Result made = retry(reason);
    made.raw.value.failure.is_rejection = 1;
    return made;
  }

  // It may work later; a delay in milliseconds is the pause that is asked for.
  static Result retry(std::string_view reason, std::optional<uint64_t> delay_ms = {}) {
    Result made;
    made.raw.is_failure = 1;
    made.raw.value.failure.advice = {detail::keep(reason), delay_ms.has_value(), delay_ms.value_or(0)};
    return made;
  }

  // The same success, with these events to publish.
  Result emitting(const std::vector<Emitted> &events) const {
    auto *list = static_cast<wasmill_emitted *>(wasmill_allocate(events.size() * sizeof(wasmill_emitted)));
    for (size_t i = 0; i < events.size(); i++) {
      const auto &event = events[i];
      list[i] = {detail::keep(event.type), detail::keep_option(event.source), detail::keep_option(event.subject), {},
                 wasmill_some(detail::keep(event.datacontenttype)), wasmill_some(detail::keep(event.data))};
    }
    Result made = *this;
    made.raw.value.output.emit = list;
    made.raw.value.output.emit_count = events.size();
    return made;
  }

  wasmill_result raw = {};
};

// Adds a line to the log. The values of fields are JSON texts.
inline void log(wasmill_level level, const std::string &message, const Fields &fields = {}) {
  std::vector<wasmill_field> raw;
  for (const auto &[name, value] : fields) raw.push_back({{name.data(), name.size()}, {value.data(), value.size()}});
  wasmill_log(level, message.c_str(), raw.data(), raw.size());
}

}  // namespace wasmill

#define WASMILL_HANDLER(function) \
  extern "C" wasmill_result handle(const wasmill_event *event) { return function(wasmill::Event(*event)).raw; }
