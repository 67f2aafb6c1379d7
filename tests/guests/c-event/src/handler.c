#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "wasmill.h"

static int is(const wasmill_event *event, const char *way) {
  wasmill_bytes data = event->data.value;
  return data.length == strlen(way) && memcmp(data.data, way, data.length) == 0;
}

static int recurse(volatile int depth) { return 1 + recurse(depth + 1) + depth; }

wasmill_result handle(const wasmill_event *event) {
  static int calls;
  if (is(event, "random")) {
    unsigned long long drawn[2];
    if (getentropy(drawn, sizeof drawn) != 0) return wasmill_reject("there is no entropy");
    char *text = wasmill_allocate(80);
    snprintf(text, 80, "\"%llx %llx\"", drawn[0], drawn[1]);
    return wasmill_success("application/json", wasmill_text(text));
  }
  if (is(event, "print")) printf("call %d", ++calls);
  if (is(event, "text")) {
    wasmill_field field = {wasmill_text("field"), wasmill_text("\"\xff\"")};
    wasmill_log(WASMILL_INFO, "\xff in a log", &field, 1);
    return wasmill_reject("\xff in a reason");
  }
  assert(!is(event, "check"));
  if (is(event, "recurse")) recurse(0);
  return wasmill_success("application/json", wasmill_text("null"));
}
