/* The contract of wasmill:function for C. A handler is one function, `handle`; what it allocates with `wasmill_allocate` is freed after the call.
   The structs are laid out as the canonical ABI has the types of wit/wasmill-function.wit. */
#ifndef WASMILL_H
#define WASMILL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Bytes, or a text in UTF-8; no zero byte ends it. */
typedef struct {
  const char *data;
  size_t length;
} wasmill_bytes;

/* Bytes that may be absent. */
typedef struct {
  bool is_some;
  wasmill_bytes value;
} wasmill_option;

/* A name and a value. The value of a log field is a JSON text. */
typedef struct {
  wasmill_bytes name, value;
} wasmill_field;

typedef struct {
  const wasmill_field *items;
  size_t count;
} wasmill_fields;

/* An event as CloudEvents 1.0 has it. */
typedef struct {
  wasmill_bytes id, source, type;
  wasmill_option subject, time, dataschema;
  wasmill_fields extensions;
  wasmill_option datacontenttype;
  wasmill_option data;
} wasmill_event;

/* An event to publish if the result commits. Everything but the type may be left zero. */
typedef struct {
  wasmill_bytes type;
  wasmill_option source, subject;
  wasmill_fields extensions;
  wasmill_option datacontenttype;
  wasmill_option data;
} wasmill_emitted;

typedef struct {
  wasmill_option content_type; /* default: application/json */
  wasmill_bytes data;
  const wasmill_emitted *emit;
  size_t emit_count;
} wasmill_output;

/* What a handler returns; made by the functions below. */
typedef struct {
  uint8_t is_failure;
  union {
    wasmill_output output;
    struct {
      uint8_t is_rejection;
      struct {
        wasmill_bytes reason;
        uint8_t has_delay;
        uint64_t delay_ms;
      } advice;
    } failure;
  } value;
} wasmill_result;

/* What is known about the execution at hand. */
typedef struct {
  wasmill_bytes id, tenant, function, version;
  uint32_t attempt, max_attempts;
  uint64_t deadline_ms; /* since 1970 */
  wasmill_bytes traceparent;
  wasmill_option tracestate;
} wasmill_execution;

typedef enum { WASMILL_TRACE, WASMILL_DEBUG, WASMILL_INFO, WASMILL_WARN, WASMILL_ERROR } wasmill_level;

/* The function that you write. */
wasmill_result handle(const wasmill_event *event);

/* Memory until the end of the call; never null. */
void *wasmill_allocate(size_t size);

/* A zero-terminated text as bytes; not a copy. */
wasmill_bytes wasmill_text(const char *text);

/* Bytes that are there. */
wasmill_option wasmill_some(wasmill_bytes value);

/* A result of this media type. */
wasmill_result wasmill_success(const char *content_type, wasmill_bytes data);

/* The event will never work; the reason is for the operator. */
wasmill_result wasmill_reject(const char *reason);

/* It may work later. `delay_ms` is the pause that is asked for; 0 leaves it to the manifest. */
wasmill_result wasmill_retry(const char *reason, uint64_t delay_ms);

/* Adds a line to the log. What is not UTF-8, here and in reasons, becomes U+FFFD. */
void wasmill_log(wasmill_level level, const char *message, const wasmill_field *fields, size_t count);

wasmill_execution wasmill_current(void);

#ifdef __cplusplus
}
#endif
#endif
