//! A node's disk: a file system of its own in a file, which can fill, hang and break.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;
use tokio::time::sleep;

use crate::sandbox::sh;

const SIZE: u64 = 384 << 20;
const BALLAST: &str = "ballast";
const SMALLEST_BALLAST: u64 = 1 << 12;
/// A node may free some room while it is being taken: so often it is taken once more.
const FILLINGS: u32 = 50;
/// How long writes hang when it is tried whether they can be made to.
const TRIAL_HANG: Duration = Duration::from_millis(10);

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

    /// Whether all can be done to it that faults do; nothing may have it open.
    pub async fn try_out(&self) -> Result<(), String> {
        self.fill()?;
        self.free()?;
        self.probe(0)
            .map_err(|e| format!("no room on {} once it is freed: {e}", self.mount.display()))?;
        Hanging::new(&self.mount)?.hang(TRIAL_HANG).await?;
        self.break_down()?;
        self.repair()?;
        self.free()
    }

    /// Leaves no byte free, and shows that the next write fails for it.
    pub fn fill(&self) -> Result<(), String> {
        let mut number = 0;
        let filled = (0..FILLINGS).find_map(|_| {
            let probed = self.take_all(&mut number).and_then(|()| {
                number += 1;
                self.probe(number)
            });
            match probed {
                Ok(()) => None,
                Err(error) if error.kind() == io::ErrorKind::StorageFull => Some(Ok(())),
                Err(error) => Some(Err(error.to_string())),
            }
        });
        let filled = filled.unwrap_or_else(|| Err("writes to it go on".to_owned()));
        filled.map_err(|why| {
            // What is wrong is told; of what was taken the rest is for the repair.
            let _ = self.free();
            format!("{} can't be filled: {why}", self.mount.display())
        })
    }

    /// Takes halves of halves, down to a block.
    fn take_all(&self, number: &mut u32) -> io::Result<()> {
        let mut size = SIZE;
        while size >= SMALLEST_BALLAST {
            *number += 1;
            let path = self.ballast(*number);
            let file = match File::create(&path) {
                // Not even a name has room any more.
                Err(error) if error.kind() == io::ErrorKind::StorageFull => return Ok(()),
                file => file?,
            };
            match fallocate(&file, FallocateFlags::empty(), 0, size) {
                Ok(()) => {}
                Err(Errno::NOSPC) => {
                    // What it has taken of a part is taken all the same.
                    fs::remove_file(&path)?;
                    size /= 2;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Writes a block to the disk.
    fn probe(&self, number: u32) -> io::Result<()> {
        let mut file = File::create(self.ballast(number))?;
        file.write_all(&[0; SMALLEST_BALLAST as usize])?;
        file.sync_all()
    }

    fn ballast(&self, number: u32) -> PathBuf {
        self.mount.join(format!("{BALLAST}-{number}"))
    }

    /// Frees what [`Self::fill`] took.
    pub fn free(&self) -> Result<(), String> {
        let failed = |e: io::Error| format!("{} can't be freed: {e}", self.mount.display());
        for entry in fs::read_dir(&self.mount).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if entry.file_name().to_string_lossy().starts_with(BALLAST) {
                fs::remove_file(entry.path()).map_err(failed)?;
            }
        }
        Ok(())
    }

    /// The file system meets an error: from now on every write and sync fails, which is shown.
    pub fn break_down(&self) -> Result<(), String> {
        let device = sh("findmnt", &["-n", "-o", "SOURCE", text(&self.mount)])?;
        let name = device.trim_start_matches("/dev/");
        let trigger = format!("/sys/fs/ext4/{name}/trigger_fs_error");
        fs::write(&trigger, "chaos").map_err(|e| format!("{trigger}: {e}"))?;
        match self.probe(0) {
            Ok(()) => Err(format!(
                "{} takes writes after {trigger} was written",
                self.mount.display()
            )),
            Err(_) => Ok(()),
        }
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

/// A file system whose writes are made to hang. It is held open, so that it is this one which hangs also where it
/// is unmounted meanwhile, and not the one below.
pub struct Hanging(File);

impl Hanging {
    pub fn new(mount: &Path) -> Result<Self, String> {
        let open = File::open(mount).map_err(|e| format!("{}: {e}", mount.display()))?;
        Ok(Self(open))
    }

    /// Every write and sync hangs for so long.
    pub async fn hang(&self, time: Duration) -> Result<(), String> {
        let path = format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd());
        sh("fsfreeze", &["-f", &path])?;
        sleep(time).await;
        sh("fsfreeze", &["-u", &path]).map(drop)
    }
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
