/* What Lua asks of a system, where WASI has nothing of the kind. The build includes it in every file of Lua's. */
#ifndef WASMILL_LUA_SYSTEM_H
#define WASMILL_LUA_SYSTEM_H

/* The seed of strings' hashes. Lua makes one of addresses and the time in seconds, which many instances have in common. */
unsigned int wasmill_lua_seed(void);
#define luai_makeseed(state) wasmill_lua_seed()

/* There are no signals. */
#define l_signalT int

#endif
