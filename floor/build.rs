//! Hands the linker the memory layout of the image.

fn main() {
    println!("cargo::rerun-if-changed=floor.ld");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("none") {
        let folder = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR");
        println!("cargo::rustc-link-arg-bins=-T{folder}/floor.ld");
    }
}
