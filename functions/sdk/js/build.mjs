// Bundles a handler and makes a component of it: node wasmill/build.mjs src/handler.js NAME.wasm
import { writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { componentize } from "componentize-qjs";
import { build } from "esbuild";

const [, , entry, output] = process.argv;
const here = (path) => fileURLToPath(new URL(path, import.meta.url));

const bundled = await build({
  entryPoints: [entry],
  bundle: true,
  format: "esm",
  write: false,
  external: ["wasmill:*", "wasi:*"],
  // Before all else: what other modules find in the global object.
  inject: [here("runtime.js")],
  // QuickJS's own promises are not driven while the host waits for `handle`; those of runtime.js are.
  supported: { "async-await": false, "async-generator": false, "for-await": false },
}).catch(() => process.exit(1)); // esbuild has said why.
const { component } = await componentize({
  witPath: here("../wit"),
  world: "javascript",
  jsSource: bundled.outputFiles[0].text,
  sync: true,
});
await writeFile(output, component);
