/* A Lua state with the project's files and the module `wasmill.host`. */
#ifndef WASMILL_LUA_RUNTIME_H
#define WASMILL_LUA_RUNTIME_H

#include "lua.h"

/* A new state with Lua's libraries; aborts where there is no memory for one. */
lua_State *wasmill_lua_open(void);

/* Puts the chunk of a file on the stack, or an error; the result is Lua's status. */
int wasmill_lua_load(lua_State *L, const char *name);

/* Calls the function below its arguments. An error becomes its text and the way to it; the result is Lua's status. */
int wasmill_lua_call(lua_State *L, int arguments, int results);

/* What only one kind of function can ask; added to the table on the stack. */
void wasmill_lua_add_host(lua_State *L);

#endif
