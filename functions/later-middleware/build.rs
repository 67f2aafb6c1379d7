//! Leaves the names of functions out: the bindings of WASI 0.3 have many, and nobody reads a
//! backtrace of this one.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-link-arg-cdylib=--strip-all");
}
