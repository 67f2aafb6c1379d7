#include "runtime.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lauxlib.h"
#include "lualib.h"

/* What `longjmp` throws. LLVM makes Lua's error handling of WebAssembly's exceptions. */
__asm__(".globl __c_longjmp\n.tagtype __c_longjmp i32\n__c_longjmp:\n");

/* Where `wasmill embed` puts the project's files. Each is the length of its name, the name, the length of its text, and the
   text; lengths are 32 bits. A name of no length ends them. The command knows this room by the export's name, and its size. */
#define ROOM (1 << 20)
__attribute__((used, aligned(8))) char wasmill_files[ROOM];

static uint32_t number_at(const char *at) {
  uint32_t number;
  memcpy(&number, at, sizeof number);
  return number;
}

/* The text of a file, or null. */
static const char *find(const char *name, size_t *length) {
  size_t wanted = strlen(name);
  const char *at = wasmill_files;
  /* Nothing that the compiler knows has written it. */
  __asm__ volatile("" : "+r"(at) : : "memory");
  while (number_at(at) != 0) {
    uint32_t name_length = number_at(at);
    const char *found = at + sizeof(uint32_t);
    *length = number_at(found + name_length);
    const char *text = found + name_length + sizeof(uint32_t);
    if (name_length == wanted && memcmp(found, name, wanted) == 0) return text;
    at = text + *length;
  }
  return NULL;
}

unsigned int wasmill_lua_seed(void) {
  unsigned int seed = 0;
  if (getentropy(&seed, sizeof seed) != 0) abort();
  return seed;
}

static struct timespec beginning;

__attribute__((constructor)) static void begin(void) { clock_gettime(CLOCK_MONOTONIC, &beginning); }

/* os.clock(): the time since the instance was made, as that on a processor is not to be had. */
static int os_clock(lua_State *L) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  lua_pushnumber(L, (lua_Number)(now.tv_sec - beginning.tv_sec) + (lua_Number)(now.tv_nsec - beginning.tv_nsec) / 1e9);
  return 1;
}

/* file(name): the text of a file of the project, or nil. */
static int host_file(lua_State *L) {
  size_t length;
  const char *text = find(luaL_checkstring(L, 1), &length);
  if (text == NULL) return 0;
  lua_pushlstring(L, text, length);
  return 1;
}

/* random(count): a string of that many random bytes. */
static int host_random(lua_State *L) {
  lua_Integer count = luaL_checkinteger(L, 1);
  luaL_argcheck(L, count >= 0 && count <= ROOM, 1, "from 0 to 1048576 bytes can be drawn at once");
  luaL_Buffer buffer;
  char *bytes = luaL_buffinitsize(L, &buffer, (size_t)count);
  /* As much as one call gives. */
  for (lua_Integer at = 0; at < count; at += 256) {
    size_t some = (size_t)(count - at < 256 ? count - at : 256);
    if (getentropy(bytes + at, some) != 0) return luaL_error(L, "there are no random bytes");
  }
  luaL_pushresultsize(&buffer, (size_t)count);
  return 1;
}

static int host_sleep(lua_State *L) {
  lua_Number seconds = luaL_checknumber(L, 1);
  luaL_argcheck(L, seconds >= 0 && seconds < 1e9, 1, "not a time to sleep");
  struct timespec time = {(time_t)seconds, (long)((seconds - (lua_Number)(time_t)seconds) * 1e9)};
  nanosleep(&time, NULL);
  return 0;
}

static int open_host(lua_State *L) {
  static const luaL_Reg functions[] = {{"file", host_file}, {"random", host_random}, {"sleep", host_sleep}, {NULL, NULL}};
  luaL_newlib(L, functions);
  wasmill_lua_add_host(L);
  return 1;
}

int wasmill_lua_load(lua_State *L, const char *name) {
  size_t length;
  const char *text = find(name, &length);
  if (text == NULL) {
    lua_pushfstring(L, "the component has no file '%s': does the project's folder have it?", name);
    return LUA_ERRFILE;
  }
  /* Texts only: a binary chunk could be one that breaks the interpreter. */
  return luaL_loadbufferx(L, text, length, lua_pushfstring(L, "@%s", name), "t");
}

/* What `require` looks for among the project's files: a.b is a/b.lua, or a/b/init.lua. */
static int search(lua_State *L) {
  const char *path = luaL_gsub(L, luaL_checkstring(L, 1), ".", "/");
  const char *names[] = {lua_pushfstring(L, "%s.lua", path), lua_pushfstring(L, "%s/init.lua", path)};
  for (int i = 0; i < 2; i++) {
    size_t length;
    if (find(names[i], &length) == NULL) continue;
    if (wasmill_lua_load(L, names[i]) != LUA_OK) return lua_error(L);
    lua_pushstring(L, names[i]);
    return 2;
  }
  lua_pushfstring(L, "no file '%s' or '%s' in the component", names[0], names[1]);
  return 1;
}

static int traced(lua_State *L) {
  const char *text = lua_tostring(L, 1);
  luaL_traceback(L, L, text != NULL ? text : luaL_tolstring(L, 1, NULL), 1);
  return 1;
}

int wasmill_lua_call(lua_State *L, int arguments, int results) {
  int at = lua_gettop(L) - arguments;
  lua_pushcfunction(L, traced);
  lua_insert(L, at);
  int status = lua_pcall(L, arguments, results, at);
  lua_remove(L, at);
  return status;
}

lua_State *wasmill_lua_open(void) {
  lua_State *L = luaL_newstate();
  if (L == NULL) abort();
  luaL_openlibs(L);
  luaL_requiref(L, "wasmill.host", open_host, 0);
  lua_pop(L, 1);

  /* The second searcher: after what is preloaded, in the place of those that look for files. */
  lua_getglobal(L, "package");
  lua_getfield(L, -1, "searchers");
  lua_pushcfunction(L, search);
  lua_rawseti(L, -2, 2);
  for (int at = 3; at <= 4; at++) {
    lua_pushnil(L);
    lua_rawseti(L, -2, at);
  }
  lua_pop(L, 2);

  lua_getglobal(L, "os");
  lua_pushcfunction(L, os_clock);
  lua_setfield(L, -2, "clock");
  lua_pop(L, 1);

  lua_getglobal(L, "math");
  lua_getfield(L, -1, "randomseed");
  for (int i = 0; i < 2; i++) {
    lua_Integer seed = 0;
    if (getentropy(&seed, sizeof seed) != 0) abort();
    lua_pushinteger(L, seed);
  }
  lua_call(L, 2, 0);
  lua_pop(L, 1);
  return L;
}
