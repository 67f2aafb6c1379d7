/* Between the handler and the canonical ABI. */
#include "wasmill.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONTRACT "wasmill:function/handler@0.1.0#handle"

_Static_assert(sizeof(wasmill_event) == 92 && sizeof(wasmill_emitted) == 64, "laid out as the contract has it");
_Static_assert(sizeof(wasmill_result) == 40 && sizeof(wasmill_execution) == 72, "laid out as the contract has it");

/* What is allocated during a call, each block after a pointer to the one before. */
typedef struct block {
  _Alignas(8) struct block *before;
} block;

static block *blocks;

void *wasmill_allocate(size_t size) {
  block *made = malloc(sizeof(block) + size);
  if (made == NULL) abort();
  made->before = blocks;
  blocks = made;
  return made + 1;
}

/* The host's way to put an event into this memory. */
__attribute__((export_name("cabi_realloc"))) void *cabi_realloc(void *old, size_t old_size, size_t align, size_t size) {
  if (size == 0) return (void *)align;
  void *made = wasmill_allocate(size);
  if (old_size != 0) memcpy(made, old, old_size);
  return made;
}

/* The same for the WASI adapter, which keeps what it gets. */
__attribute__((export_name("cabi_realloc_adapter"))) void *cabi_realloc_adapter(void *old, size_t old_size, size_t align, size_t size) {
  (void)old_size, (void)align;
  void *made = realloc(old, size);
  if (made == NULL) abort();
  return made;
}

/* How long the character of UTF-8 is that begins here; 0 where none does. */
static size_t character(const unsigned char *at, size_t left) {
  unsigned char first = at[0];
  if (first < 0x80) return 1;
  size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || left < length) return 0;
  unsigned char low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
  unsigned char high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
  if (at[1] < low || at[1] > high) return 0;
  for (size_t i = 2; i < length; i++) {
    if ((at[i] & 0xc0) != 0x80) return 0;
  }
  return length;
}

/* The text as the host takes it, which is UTF-8: other bytes become U+FFFD. */
static wasmill_bytes valid(wasmill_bytes text) {
  const unsigned char *bytes = (const unsigned char *)text.data;
  size_t from = 0, length = 0;
  for (size_t step; from < text.length && (step = character(bytes + from, text.length - from)) != 0;) from += step;
  if (from == text.length) return text;
  char *made = wasmill_allocate(3 * text.length);
  for (from = 0; from < text.length;) {
    size_t step = character(bytes + from, text.length - from);
    memcpy(made + length, step != 0 ? text.data + from : "\xef\xbf\xbd", step != 0 ? step : 3);
    length += step != 0 ? step : 3;
    from += step != 0 ? step : 1;
  }
  return (wasmill_bytes){made, length};
}

__attribute__((export_name(CONTRACT))) wasmill_result *wasmill_handle(const wasmill_event *event) {
  static wasmill_result result;
  result = handle(event);
  if (result.is_failure) result.value.failure.advice.reason = valid(result.value.failure.advice.reason);
  /* What was printed belongs to this execution; the instance may serve another one. */
  fflush(NULL);
  return &result;
}

/* The result has been read. */
__attribute__((export_name("cabi_post_" CONTRACT))) void wasmill_done(wasmill_result *result) {
  (void)result;
  while (blocks != NULL) {
    block *before = blocks->before;
    free(blocks);
    blocks = before;
  }
}

wasmill_bytes wasmill_text(const char *text) { return (wasmill_bytes){text, strlen(text)}; }

wasmill_option wasmill_some(wasmill_bytes value) { return (wasmill_option){true, value}; }

wasmill_result wasmill_success(const char *content_type, wasmill_bytes data) {
  wasmill_result result = {0};
  result.value.output.content_type = wasmill_some(wasmill_text(content_type));
  result.value.output.data = data;
  return result;
}

wasmill_result wasmill_reject(const char *reason) {
  wasmill_result result = {.is_failure = 1};
  result.value.failure.is_rejection = 1;
  result.value.failure.advice.reason = wasmill_text(reason);
  return result;
}

wasmill_result wasmill_retry(const char *reason, uint64_t delay_ms) {
  wasmill_result result = {.is_failure = 1};
  result.value.failure.advice.reason = wasmill_text(reason);
  result.value.failure.advice.has_delay = delay_ms != 0;
  result.value.failure.advice.delay_ms = delay_ms;
  return result;
}

__attribute__((import_module("wasmill:function/log@0.1.0"), import_name("log"))) void
wasmill_import_log(int32_t level, const char *message, size_t length, const wasmill_field *fields, size_t count);

void wasmill_log(wasmill_level level, const char *message, const wasmill_field *fields, size_t count) {
  wasmill_bytes text = valid(wasmill_text(message));
  wasmill_field *checked = wasmill_allocate(count * sizeof(wasmill_field));
  for (size_t i = 0; i < count; i++) checked[i] = (wasmill_field){valid(fields[i].name), valid(fields[i].value)};
  wasmill_import_log((int32_t)level, text.data, text.length, checked, count);
}

__attribute__((import_module("wasmill:function/context@0.1.0"), import_name("current"))) void
wasmill_import_current(wasmill_execution *into);

wasmill_execution wasmill_current(void) {
  wasmill_execution execution;
  wasmill_import_current(&execution);
  return execution;
}
