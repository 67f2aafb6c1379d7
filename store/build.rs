//! The migrations are compiled in; a new file among them is not seen by the compiler alone.

fn main() {
    println!("cargo:rerun-if-changed=../migrations");
}
