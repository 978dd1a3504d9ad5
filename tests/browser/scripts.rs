//! The scripts beside this, ready to run: for the tests of the page (`crates/gate/tests/variants.rs`) and those of the
//! whole system (`tests/gate/browser.rs`).

use std::path::{Path, PathBuf};
use std::process::Command;

/// The scripts with the packages that they need, made once for each target directory; or why there can't be any.
pub fn ready() -> Result<PathBuf, String> {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/browser");
    let to = Path::new(env!("CARGO_TARGET_TMPDIR")).join("browser");
    let read =
        |path: &Path| std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()));
    let chromium = std::env::var_os("CHROMIUM").unwrap_or("/usr/bin/chromium".into());
    if !Path::new(&chromium).exists() {
        return Err("no Chromium at /usr/bin/chromium; CHROMIUM names another".to_owned());
    }
    let wanted = read(&from.join("package.json"))?;
    let done = to.join("done.json");
    std::fs::create_dir_all(&to).map_err(|error| error.to_string())?;
    for file in [
        "package.json",
        "chromium.mjs",
        "variants.mjs",
        "journey.mjs",
    ] {
        let text = read(&from.join(file))?;
        std::fs::write(to.join(file), text).map_err(|error| error.to_string())?;
    }
    if read(&done).is_ok_and(|done| done == wanted) {
        return Ok(to);
    }
    let installed = Command::new("npm")
        .args(["install", "--no-package-lock", "--no-audit", "--no-fund"])
        .args(["--ignore-scripts", "--silent"])
        .current_dir(&to)
        .output();
    match installed {
        Ok(ran) if ran.status.success() => {}
        Ok(ran) => return Err(format!("npm: {}", String::from_utf8_lossy(&ran.stderr))),
        Err(error) => return Err(format!("npm: {error}")),
    }
    std::fs::write(done, wanted).map_err(|error| error.to_string())?;
    Ok(to)
}
