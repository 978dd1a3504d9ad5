//! The functions that stand in for those of the C library must be seen by whoever looks them up at run time.
//! The tests of planted bugs run where those are planted.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-link-arg=-Wl,--export-dynamic");
    println!("cargo:rerun-if-env-changed=PREAU_MUTATIONS");
    println!("cargo:rustc-check-cfg=cfg(planted)");
    if std::env::var("PREAU_MUTATIONS").is_ok_and(|set| set == "1") {
        println!("cargo:rustc-cfg=planted");
    }
}
