//! Compiles `proto/` in pure Rust, and notes which compiler builds this.

use std::path::PathBuf;
use std::process::Command;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?).join("proto");
    println!("cargo:rerun-if-changed={}", root.display());
    let files = ["etcd", "stand_in"].map(|name| root.join(format!("{name}.proto")));
    tonic_prost_build::configure()
        // What makes Préau's calls cheaper is to make those of others cheaper too.
        .codec_path("api::codec::Proto")
        .compile_fds(protox::compile(&files, [&root])?)?;

    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let said = Command::new(rustc).arg("--version").output()?;
    let version = String::from_utf8(said.stdout)?;
    println!("cargo:rustc-env=BUILT_BY={}", version.trim());
    Ok(())
}
