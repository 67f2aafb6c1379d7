/* Greets whoever the event names: its data is a name, as plain text. */
#include <stdio.h>

#include "wasmill.h"

wasmill_result handle(const wasmill_event *event) {
  wasmill_bytes name = event->data.value;
  if (!event->data.is_some || name.length == 0) return wasmill_reject("the event names nobody");

  size_t room = name.length + sizeof "Hello, !";
  char *greeting = wasmill_allocate(room);
  int length = snprintf(greeting, room, "Hello, %.*s!", (int)name.length, name.data);

  char count[16];
  snprintf(count, sizeof count, "%d", length);
  wasmill_field fields[] = {{wasmill_text("length"), wasmill_text(count)}};
  wasmill_log(WASMILL_INFO, "greeted", fields, 1);
  return wasmill_success("text/plain; charset=utf-8", (wasmill_bytes){greeting, (size_t)length});
}
