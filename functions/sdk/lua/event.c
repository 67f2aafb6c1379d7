/* Functions of kind event: what `handler.lua` returns is called with each event. */
#include <stdlib.h>
#include <string.h>

#include "lauxlib.h"
#include "runtime.h"
#include "wasmill.h"

static void set(lua_State *L, const char *name, wasmill_bytes value) {
  lua_pushlstring(L, value.data, value.length);
  lua_setfield(L, -2, name);
}

static void set_option(lua_State *L, const char *name, wasmill_option value) {
  if (value.is_some) set(L, name, value.value);
}

static int push_event(lua_State *L) {
  const wasmill_event *event = lua_touserdata(L, 1);
  lua_newtable(L);
  set(L, "id", event->id);
  set(L, "source", event->source);
  set(L, "type", event->type);
  set_option(L, "subject", event->subject);
  set_option(L, "time", event->time);
  set_option(L, "dataschema", event->dataschema);
  set_option(L, "datacontenttype", event->datacontenttype);
  set_option(L, "data", event->data);
  lua_newtable(L);
  for (size_t i = 0; i < event->extensions.count; i++) {
    wasmill_field field = event->extensions.items[i];
    lua_pushlstring(L, field.name.data, field.name.length);
    lua_pushlstring(L, field.value.data, field.value.length);
    lua_rawset(L, -3);
  }
  lua_setfield(L, -2, "extensions");
  return 1;
}

/* A copy that lives until the end of the call. */
static wasmill_bytes keep(lua_State *L, int at) {
  size_t length;
  const char *text = luaL_tolstring(L, at, &length);
  char *copy = wasmill_allocate(length);
  memcpy(copy, text, length);
  lua_pop(L, 1);
  return (wasmill_bytes){copy, length};
}

static wasmill_bytes field(lua_State *L, const char *name) {
  lua_getfield(L, -1, name);
  wasmill_bytes value = keep(L, -1);
  lua_pop(L, 1);
  return value;
}

static wasmill_option option(lua_State *L, const char *name) {
  wasmill_option value = {0};
  if (lua_getfield(L, -1, name) != LUA_TNIL) value = wasmill_some(keep(L, -1));
  lua_pop(L, 1);
  return value;
}

/* Pairs of texts in the list on the stack, which it takes off. */
static wasmill_fields pairs(lua_State *L) {
  size_t count = lua_istable(L, -1) ? lua_rawlen(L, -1) / 2 : 0;
  wasmill_field *items = wasmill_allocate(count * sizeof(wasmill_field));
  for (size_t i = 0; i < count; i++) {
    lua_rawgeti(L, -1, (lua_Integer)(2 * i + 1));
    lua_rawgeti(L, -2, (lua_Integer)(2 * i + 2));
    items[i] = (wasmill_field){keep(L, -2), keep(L, -1)};
    lua_pop(L, 2);
  }
  lua_pop(L, 1);
  return (wasmill_fields){items, count};
}

static wasmill_emitted emitted(lua_State *L) {
  wasmill_emitted event = {.type = field(L, "type")};
  event.source = option(L, "source");
  event.subject = option(L, "subject");
  event.datacontenttype = option(L, "datacontenttype");
  event.data = option(L, "data");
  lua_getfield(L, -1, "extensions");
  event.extensions = pairs(L);
  return event;
}

/* What `wasmill.answer` made of the event: a table with `data`, or with the `reason` of a failure. */
static int read_result(lua_State *L) {
  wasmill_result *result = lua_touserdata(L, 1);
  lua_settop(L, 2);
  if (lua_getfield(L, 2, "reason") != LUA_TNIL) {
    result->is_failure = 1;
    result->value.failure.advice.reason = keep(L, -1);
    lua_getfield(L, 2, "rejected");
    result->value.failure.is_rejection = (uint8_t)lua_toboolean(L, -1);
    if (lua_getfield(L, 2, "delay_ms") != LUA_TNIL) {
      result->value.failure.advice.has_delay = 1;
      result->value.failure.advice.delay_ms = (uint64_t)luaL_checkinteger(L, -1);
    }
    return 0;
  }
  lua_settop(L, 2);
  result->value.output.data = field(L, "data");
  result->value.output.content_type = option(L, "content_type");
  lua_getfield(L, 2, "emit");
  size_t count = lua_rawlen(L, -1);
  wasmill_emitted *events = wasmill_allocate(count * sizeof(wasmill_emitted));
  for (size_t i = 0; i < count; i++) {
    lua_rawgeti(L, 3, (lua_Integer)(i + 1));
    events[i] = emitted(L);
    lua_pop(L, 1);
  }
  result->value.output.emit = events;
  result->value.output.emit_count = count;
  return 0;
}

/* log(level, message, names and JSON texts by turns) */
static int host_log(lua_State *L) {
  lua_settop(L, 3);
  char *message = wasmill_allocate(lua_rawlen(L, 2) + 1);
  strcpy(message, luaL_checkstring(L, 2));
  wasmill_fields fields = pairs(L);
  wasmill_log((wasmill_level)luaL_checkinteger(L, 1), message, fields.items, fields.count);
  return 0;
}

static void set_integer(lua_State *L, const char *name, lua_Integer value) {
  lua_pushinteger(L, value);
  lua_setfield(L, -2, name);
}

static int host_execution(lua_State *L) {
  wasmill_execution execution = wasmill_current();
  lua_newtable(L);
  set(L, "id", execution.id);
  set(L, "tenant", execution.tenant);
  set(L, "name", execution.function);
  set(L, "version", execution.version);
  set_integer(L, "attempt", execution.attempt);
  set_integer(L, "max_attempts", execution.max_attempts);
  set_integer(L, "deadline_ms", (lua_Integer)execution.deadline_ms);
  set(L, "traceparent", execution.traceparent);
  set_option(L, "tracestate", execution.tracestate);
  return 1;
}

void wasmill_lua_add_host(lua_State *L) {
  static const luaL_Reg functions[] = {{"log", host_log}, {"execution", host_execution}, {NULL, NULL}};
  luaL_setfuncs(L, functions, 0);
}

/* Leaves `wasmill.answer` and the handler on the stack, or an error. */
static int prepare(lua_State *L) {
  lua_getglobal(L, "require");
  lua_pushliteral(L, "wasmill");
  lua_call(L, 1, 1);
  lua_getfield(L, -1, "answer");
  lua_getglobal(L, "require");
  lua_pushliteral(L, "handler");
  lua_call(L, 1, 1);
  if (!lua_isfunction(L, -1)) return luaL_error(L, "handler.lua must return the function that is called with each event");
  return 2;
}

wasmill_result handle(const wasmill_event *event) {
  static lua_State *L;
  if (L == NULL) L = wasmill_lua_open();
  lua_settop(L, 0);
  wasmill_result result = {0};
  lua_pushcfunction(L, prepare);
  int status = wasmill_lua_call(L, 0, 2);
  if (status == LUA_OK) {
    lua_pushcfunction(L, push_event);
    lua_pushlightuserdata(L, (void *)event);
    status = wasmill_lua_call(L, 1, 1);
  }
  if (status == LUA_OK) status = wasmill_lua_call(L, 2, 1);
  if (status == LUA_OK) {
    lua_pushcfunction(L, read_result);
    lua_pushlightuserdata(L, &result);
    lua_rotate(L, 1, 2);
    status = wasmill_lua_call(L, 2, 0);
  }
  if (status != LUA_OK) {
    result = (wasmill_result){.is_failure = 1};
    result.value.failure.advice.reason = keep(L, -1);
  }
  lua_settop(L, 0);
  return result;
}
