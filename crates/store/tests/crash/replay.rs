//! Does to a model of the disk what a process did to the real one.

use std::collections::HashMap;
use std::path::Path;
use std::rc::Rc;

use crate::disk::{Change, Disk, Inode};
use crate::trace::Event;

/// Does to a model of the disk what was done to the real one.
pub struct Replay {
    pub disk: Disk,
    root: String,
    open: HashMap<i64, Open>,
    calls: HashMap<u32, Call>,
    /// Syncs of these are taken as not done, to see that the test would notice.
    pub ignore: Ignore,
}

/// Which syncs to overlook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ignore {
    Nothing,
    Files,
    Directories,
    /// The files of this name.
    Named(&'static str),
}

#[derive(Debug, Clone, Copy)]
struct Open {
    /// `None` outside of the disk.
    inode: Option<Inode>,
    offset: u64,
    /// Its syncs are overlooked for its name.
    ignored: bool,
}

/// A call that has begun, and what to do at its end.
enum Call {
    Other,
    Open {
        inode: Option<Inode>,
        changed: Vec<(Inode, u64)>,
        ignored: bool,
    },
    Change {
        inode: Inode,
        id: u64,
    },
    Sync {
        inode: Inode,
        ids: Vec<u64>,
    },
    Duplicate(i64),
    Seek(i64),
}

impl Replay {
    /// On a disk as `root` is now.
    pub fn new(root: &Path, ignore: Ignore) -> Self {
        Self {
            disk: Disk::of(root),
            root: root.to_str().unwrap().into(),
            open: HashMap::new(),
            calls: HashMap::new(),
            ignore,
        }
    }

    /// The trace is of a disk that was at another path.
    pub fn stands_for(&mut self, root: &Path) {
        self.root = root.to_str().unwrap().into();
    }

    /// A new process begins.
    pub fn restart(&mut self) {
        self.open.clear();
        self.calls.clear();
    }

    /// Takes in an event. Returns what was written outside of the disk.
    pub fn event(&mut self, event: &Event) -> Option<Vec<u8>> {
        match event {
            Event::Begin { thread, name, args } => {
                let mut outside = None;
                let args: Vec<&str> = args.split(", ").collect();
                let call = self.begin(name, &args, &mut outside);
                self.calls.insert(*thread, call);
                outside
            }
            Event::End { thread, result } => {
                let call = self.calls.remove(thread).unwrap_or(Call::Other);
                self.end(call, *result);
                None
            }
        }
    }

    fn begin(&mut self, name: &str, args: &[&str], outside: &mut Option<Vec<u8>>) -> Call {
        match name {
            "open" => self.opening(self.path("AT_FDCWD", args[0]), args[1]),
            "openat" => self.opening(self.path(args[0], args[1]), args[2]),
            "close" => {
                self.open.remove(&number(args[0]));
                Call::Other
            }
            "write" => {
                let fd = number(args[0]);
                let Some(open) = self.open.get_mut(&fd) else {
                    return Call::Other;
                };
                let bytes = unhex(args[1]);
                let Some(inode) = open.inode else {
                    *outside = Some(bytes);
                    return Call::Other;
                };
                let at = open.offset;
                open.offset += bytes.len() as u64;
                self.writing(inode, at, bytes)
            }
            "pwrite64" => match self.inode(args[0]) {
                Some(inode) => self.writing(inode, number(args[3]) as u64, unhex(args[1])),
                None => Call::Other,
            },
            "ftruncate" => match self.inode(args[0]) {
                Some(inode) => {
                    let id = self
                        .disk
                        .change(inode, Change::Resize(number(args[1]) as u64));
                    Call::Change { inode, id }
                }
                None => Call::Other,
            },
            "lseek" => Call::Seek(number(args[0])),
            "fsync" | "fdatasync" => self.syncing(args[0]),
            "mkdir" => self.making(self.path("AT_FDCWD", args[0])),
            "mkdirat" => self.making(self.path(args[0], args[1])),
            "unlink" => self.unnaming(self.path("AT_FDCWD", args[0]), false),
            "rmdir" => self.unnaming(self.path("AT_FDCWD", args[0]), true),
            "unlinkat" => self.unnaming(self.path(args[0], args[1]), args[2] != "0"),
            "rename" => {
                let from = self.path("AT_FDCWD", args[0]);
                self.renaming(from, self.path("AT_FDCWD", args[1]))
            }
            "renameat" | "renameat2" => {
                let from = self.path(args[0], args[1]);
                self.renaming(from, self.path(args[2], args[3]))
            }
            "dup" | "dup2" | "dup3" => Call::Duplicate(number(args[0])),
            "fcntl" if args[1].starts_with("F_DUPFD") => Call::Duplicate(number(args[0])),
            "fcntl" => Call::Other,
            _ => {
                let ours =
                    self.inode(args[0]).is_some() || self.path("AT_FDCWD", args[0]).is_some();
                assert!(!ours, "the model knows no {name}({args:?})");
                Call::Other
            }
        }
    }

    fn end(&mut self, call: Call, result: i64) {
        match call {
            Call::Other => {}
            Call::Open {
                inode,
                changed,
                ignored,
            } => {
                for (inode, id) in changed {
                    self.disk.ended(inode, id);
                }
                if result >= 0 {
                    let open = Open {
                        inode,
                        offset: 0,
                        ignored,
                    };
                    self.open.insert(result, open);
                }
            }
            Call::Change { inode, id } => {
                assert!(result >= 0, "a change of inode {inode} failed");
                self.disk.ended(inode, id);
            }
            Call::Sync { inode, ids } => {
                if result == 0 {
                    self.disk.synced(inode, &ids);
                }
            }
            Call::Duplicate(from) => {
                if let Some(open) = self.open.get(&from).copied() {
                    self.open.insert(result, open);
                }
            }
            Call::Seek(fd) => {
                if let Some(open) = self.open.get_mut(&fd) {
                    open.offset = result as u64;
                }
            }
        }
    }

    fn opening(&mut self, at: Option<(Inode, String)>, flags: &str) -> Call {
        let mut changed = Vec::new();
        let ignored = match (self.ignore, &at) {
            (Ignore::Named(ignored), Some((_, name))) => ignored == name,
            _ => false,
        };
        let inode = at.and_then(|(parent, name)| {
            let there = if name.is_empty() {
                Some(parent)
            } else {
                self.disk.lookup(parent, &name)
            };
            match there {
                Some(inode) => {
                    if flags.contains("O_TRUNC") {
                        changed.push((inode, self.disk.change(inode, Change::Resize(0))));
                    }
                    Some(inode)
                }
                None if flags.contains("O_CREAT") => {
                    let inode = self.disk.make(false);
                    changed.push((parent, self.disk.names(parent, vec![(name, Some(inode))])));
                    Some(inode)
                }
                None => None,
            }
        });
        Call::Open {
            inode,
            changed,
            ignored,
        }
    }

    fn writing(&mut self, inode: Inode, at: u64, bytes: Vec<u8>) -> Call {
        let bytes: Rc<[u8]> = bytes.into();
        let id = self.disk.change(inode, Change::Write { at, bytes });
        Call::Change { inode, id }
    }

    fn syncing(&mut self, fd: &str) -> Call {
        let Some(open) = self.open.get(&number(fd)) else {
            return Call::Other;
        };
        let Some(inode) = open.inode else {
            return Call::Other;
        };
        let directory = self.disk.is_dir(inode);
        let ignored = match self.ignore {
            Ignore::Nothing => false,
            Ignore::Files => !directory,
            Ignore::Directories => directory,
            Ignore::Named(_) => open.ignored,
        };
        if ignored {
            return Call::Other;
        }
        Call::Sync {
            inode,
            ids: self.disk.sync(inode),
        }
    }

    fn making(&mut self, at: Option<(Inode, String)>) -> Call {
        let Some((parent, name)) = at.filter(|(p, name)| self.disk.lookup(*p, name).is_none())
        else {
            return Call::Other;
        };
        let inode = self.disk.make(true);
        let id = self.disk.names(parent, vec![(name, Some(inode))]);
        Call::Change { inode: parent, id }
    }

    fn unnaming(&mut self, at: Option<(Inode, String)>, directory: bool) -> Call {
        // A try with the wrong call fails.
        let there = |(parent, name): &(Inode, String)| {
            let inode = self.disk.lookup(*parent, name);
            inode.is_some_and(|inode| self.disk.is_dir(inode) == directory)
        };
        let Some((parent, name)) = at.filter(there) else {
            return Call::Other;
        };
        let id = self.disk.names(parent, vec![(name, None)]);
        Call::Change { inode: parent, id }
    }

    fn renaming(&mut self, from: Option<(Inode, String)>, to: Option<(Inode, String)>) -> Call {
        let (Some((parent, from)), Some((to_parent, to))) = (from, to) else {
            return Call::Other;
        };
        assert_eq!(
            parent, to_parent,
            "the model knows renames within one directory"
        );
        let inode = self.disk.lookup(parent, &from);
        let id = self.disk.names(parent, vec![(from, None), (to, inode)]);
        Call::Change { inode: parent, id }
    }

    fn inode(&self, fd: &str) -> Option<Inode> {
        self.open.get(&fd.parse().ok()?)?.inode
    }

    /// The directory and the name that a path stands for, if it is on the disk.
    fn path(&self, fd: &str, path: &str) -> Option<(Inode, String)> {
        if !path.starts_with('"') {
            return None;
        }
        let path = String::from_utf8(unhex(path)).ok()?;
        let (mut parent, rest) = match path.strip_prefix(&self.root) {
            Some(rest) => (0, rest),
            None if path.starts_with('/') => return None,
            None => (self.inode(fd)?, path.as_str()),
        };
        let mut names = rest
            .split('/')
            .filter(|name| !matches!(*name, "" | "."))
            .peekable();
        while let Some(name) = names.next() {
            if names.peek().is_none() {
                return Some((parent, name.into()));
            }
            parent = self.disk.lookup(parent, name)?;
        }
        Some((parent, String::new()))
    }
}

fn number(word: &str) -> i64 {
    word.parse().unwrap_or(-1)
}

fn unhex(quoted: &str) -> Vec<u8> {
    let inner = quoted.strip_prefix('"').and_then(|q| q.strip_suffix('"'));
    let inner = inner.unwrap_or_else(|| panic!("cut short: {}", &quoted[..quoted.len().min(60)]));
    let digit = |byte: u8| (byte as char).to_digit(16).unwrap() as u8;
    let bytes = inner.as_bytes().chunks_exact(4);
    bytes
        .map(|hex| digit(hex[2]) << 4 | digit(hex[3]))
        .collect()
}
