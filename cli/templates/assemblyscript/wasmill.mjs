// Exports the entry by the contract's name, which is none that AssemblyScript could spell.
const name = "wasmill:function/handler@0.1.0#handle";

export default class {
  afterCompile(module) {
    for (const used of ["entry", "done", "trap", "seed"]) module.removeExport(used);
    module.addFunctionExport("assembly/abi/entry", name);
    module.addFunctionExport("assembly/abi/done", `cabi_post_${name}`);
  }
}
