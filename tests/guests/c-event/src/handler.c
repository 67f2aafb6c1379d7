#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
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
  if (is(event, "facts")) {
    struct timespec before, after, pause = {0, 20000000};
    clock_gettime(CLOCK_MONOTONIC, &before);
    nanosleep(&pause, NULL);
    clock_gettime(CLOCK_MONOTONIC, &after);
    long long slept = (after.tv_sec - before.tv_sec) * 1000LL + (after.tv_nsec - before.tv_nsec) / 1000000;
    time_t zero = 0;
    char *text = wasmill_allocate(200);
    snprintf(text, 200, "{\"slept\": %s, \"hour\": %d, \"stdin\": %d, \"file\": %s, \"rand\": %d}",
             slept >= 15 && slept < 5000 ? "true" : "false", localtime(&zero)->tm_hour, getchar(),
             fopen("/etc/passwd", "r") ? "true" : "false", rand());
    return wasmill_success("application/json", wasmill_text(text));
  }
  assert(!is(event, "check"));
  if (is(event, "recurse")) recurse(0);
  return wasmill_success("application/json", wasmill_text("null"));
}
