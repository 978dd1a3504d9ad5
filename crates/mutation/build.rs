//! Plants the bugs where `PREAU_MUTATIONS=1` is set for the build, and nowhere else.

fn main() {
    println!("cargo:rerun-if-env-changed=PREAU_MUTATIONS");
    println!("cargo:rustc-check-cfg=cfg(planted)");
    if std::env::var("PREAU_MUTATIONS").is_ok_and(|set| set == "1") {
        println!("cargo:rustc-cfg=planted");
    }
}
