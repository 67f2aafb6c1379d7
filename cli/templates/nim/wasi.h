/* What Nim's library asks of a POSIX system, and WASI's C library has not under that name. The build includes it in every file. */
#ifndef WASMILL_NIM_WASI_H
#define WASMILL_NIM_WASI_H

#include <stdio.h>
#include <unistd.h>

/* There is one thread. */
#define flockfile(file) ((void)(file))
#define funlockfile(file) ((void)(file))

/* What `main.c` calls, in programs. */
#define main nim_main

/* std/sysrand, and what std/random is seeded by. No other system call is made by its number. */
#define SYS_getrandom 0
#define syscall(number, into, size, flags) wasmill_random(into, size)

static inline long wasmill_random(void *into, size_t size) {
  /* As much as one call gives. */
  size_t some = size < 256 ? size : 256;
  return getentropy(into, some) == 0 ? (long)some : -1;
}

#endif
