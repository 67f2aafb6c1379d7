import std/[compilesettings, os]

task build, "makes {{name}}.wasm":
  # C files of modules that are gone would be compiled still.
  rmDir ".nim"
  exec "nim c --compileOnly --nimcache:.nim --cc:clang --os:linux --cpu:wasm32 --threads:off --mm:orc -d:useMalloc" &
    " -d:noSignalHandler -d:nimUse64BitCTime -d:release --opt:size --noMain:on --hints:off src/handler.nim"
  exec "zig cc -target wasm32-wasi -mexec-model=reactor -Os -s -w -include src/wasi.h -Isrc -I" & quoteShell(querySetting(libPath)) &
    " -o {{name}}.wasm .nim/*.c src/wasmill.c"
