//! Migrations are embedded at compile time: build again when one is added.

fn main() {
    println!("cargo:rerun-if-changed=../migrations");
}
