/* Functions of kind command: `main.lua` is run, as Lua's own interpreter would. */
#include <stdio.h>

#include "lauxlib.h"
#include "runtime.h"

void wasmill_lua_add_host(lua_State *L) { (void)L; }

int main(int count, char **arguments) {
  lua_State *L = wasmill_lua_open();
  lua_newtable(L);
  for (int i = 0; i < count; i++) {
    lua_pushstring(L, arguments[i]);
    lua_rawseti(L, -2, i);
  }
  lua_setglobal(L, "arg");
  int status = wasmill_lua_load(L, "main.lua");
  if (status == LUA_OK) status = wasmill_lua_call(L, 0, 0);
  if (status != LUA_OK) fprintf(stderr, "%s\n", luaL_tolstring(L, -1, NULL));
  return status == LUA_OK ? 0 : 1;
}
