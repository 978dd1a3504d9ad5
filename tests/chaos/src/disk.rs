//! A node's disk: a file system of its own in a file, which can fill, hang and break.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::sleep;

use crate::sandbox::sh;

const SIZE: u64 = 384 << 20;
const BALLAST: &str = "ballast";
const SMALLEST_BALLAST: u64 = 1 << 12;

/// A disk, unmounted and removed with this.
#[derive(Debug)]
pub struct Disk {
    image: PathBuf,
    mount: PathBuf,
}

impl Disk {
    /// Makes one below `dir`.
    pub fn new(dir: &Path) -> Result<Self, String> {
        let (image, mount) = (dir.join("disk.img"), dir.join("disk"));
        let file = fs::File::create(&image).and_then(|file| file.set_len(SIZE));
        file.map_err(|e| format!("{}: {e}", image.display()))?;
        fs::create_dir_all(&mount).map_err(|e| format!("{}: {e}", mount.display()))?;
        sh("mkfs.ext4", &["-q", "-F", "-m", "0", text(&image)])?;
        attach(&image, &mount)?;
        Ok(Self { image, mount })
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.mount
    }

    /// Leaves no byte free.
    pub fn fill(&self) {
        let (mut size, mut number) = (SIZE, 0);
        while size >= SMALLEST_BALLAST {
            let path = self.mount.join(format!("{BALLAST}-{number}"));
            if sh("fallocate", &["-l", &size.to_string(), text(&path)]).is_ok() {
                number += 1;
            } else {
                // What it has taken of a part is taken all the same.
                let _ = fs::remove_file(&path);
                size /= 2;
            }
        }
    }

    /// Frees what [`Self::fill`] took.
    pub fn free(&self) -> Result<(), String> {
        let entries = fs::read_dir(&self.mount).map_err(|e| e.to_string())?;
        for entry in entries.flatten() {
            if entry.file_name().to_string_lossy().starts_with(BALLAST) {
                fs::remove_file(entry.path()).map_err(|e| e.to_string())?;
            }
        }
        Ok(())
    }

    /// The file system meets an error: from now on every write and sync fails.
    pub fn break_down(&self) -> Result<(), String> {
        let device = sh("findmnt", &["-n", "-o", "SOURCE", text(&self.mount)])?;
        let name = device.trim_start_matches("/dev/");
        let trigger = format!("/sys/fs/ext4/{name}/trigger_fs_error");
        fs::write(&trigger, "chaos").map_err(|e| format!("{trigger}: {e}"))
    }

    /// Checked, mended and mounted anew; nothing may have it open.
    pub fn repair(&self) -> Result<(), String> {
        sh("umount", &[text(&self.mount)])?;
        // It ends with 1 where it has mended something; a mount of what it could not mend fails.
        let _ = sh("e2fsck", &["-fy", text(&self.image)]);
        attach(&self.image, &self.mount)
    }
}

fn attach(image: &Path, mount: &Path) -> Result<(), String> {
    let options = "loop,errors=remount-ro";
    sh("mount", &["-o", options, text(image), text(mount)]).map(drop)
}

/// Every write and sync below `mount` hangs for so long.
pub async fn hang(mount: &Path, time: Duration) -> Result<(), String> {
    sh("fsfreeze", &["-f", text(mount)])?;
    sleep(time).await;
    sh("fsfreeze", &["-u", text(mount)]).map(drop)
}

impl Drop for Disk {
    fn drop(&mut self) {
        if let Err(why) = sh("umount", &["-l", text(&self.mount)]) {
            eprintln!("{why}");
        }
    }
}

/// All paths here are made of this program's own names in the directory for temporary files.
fn text(path: &Path) -> &str {
    path.to_str().unwrap_or_default()
}
