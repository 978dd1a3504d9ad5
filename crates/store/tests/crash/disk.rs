//! A model of a disk under a file system that promises no more than POSIX: what was not synced may be
//! lost, torn between sectors, or kept, each on its own and in any order. That goes for the bytes of a
//! file, which a sync of the file makes durable, and for a directory's entries, which a sync of the
//! directory does. A rename happens as a whole or not at all.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::rc::Rc;

use crate::load::Random;

const SECTOR: usize = 512;

/// A file or directory, whatever its name.
pub type Inode = usize;

/// Names, and what they stand for from now on, if anything.
pub type Names = Vec<(String, Option<Inode>)>;

#[derive(Debug)]
pub struct Disk {
    nodes: Vec<Node>,
    next: u64,
}

#[derive(Debug)]
enum Node {
    File {
        durable: Vec<u8>,
        pending: Vec<Pending<Change>>,
    },
    Dir {
        durable: BTreeMap<String, Inode>,
        now: BTreeMap<String, Inode>,
        pending: Vec<Pending<Names>>,
    },
}

/// A change that has begun and is not durable.
#[derive(Debug, Clone)]
struct Pending<T> {
    id: u64,
    ended: bool,
    change: T,
}

#[derive(Debug, Clone)]
pub enum Change {
    Write { at: u64, bytes: Rc<[u8]> },
    Resize(u64),
}

/// Which of what is not durable a power cut keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    Nothing,
    Everything,
    /// All up to some change.
    InOrder,
    /// Each change or not.
    Changes,
    /// Each sector of each change or not.
    Sectors,
    /// All bytes, no names.
    NoNames,
    /// All names, no bytes.
    NoBytes,
}

pub const CUTS: [Cut; 7] = [
    Cut::Sectors,
    Cut::Changes,
    Cut::Nothing,
    Cut::InOrder,
    Cut::NoNames,
    Cut::Everything,
    Cut::NoBytes,
];

impl Disk {
    /// A disk with `dir` in it, all durable. Its root is inode 0.
    pub fn of(dir: &Path) -> Self {
        let mut disk = Self {
            nodes: Vec::new(),
            next: 0,
        };
        disk.load(dir);
        disk
    }

    fn load(&mut self, path: &Path) -> Inode {
        let inode = self.nodes.len();
        if path.is_dir() {
            self.nodes.push(dir(BTreeMap::new()));
            let mut entries = BTreeMap::new();
            for entry in fs::read_dir(path).unwrap() {
                let entry = entry.unwrap();
                let name = entry.file_name().into_string().unwrap();
                entries.insert(name, self.load(&entry.path()));
            }
            self.nodes[inode] = dir(entries);
        } else {
            self.nodes.push(Node::File {
                durable: fs::read(path).unwrap(),
                pending: Vec::new(),
            });
        }
        inode
    }

    /// A new file or directory, which has no name yet.
    pub fn make(&mut self, directory: bool) -> Inode {
        self.nodes.push(match directory {
            true => dir(BTreeMap::new()),
            false => Node::File {
                durable: Vec::new(),
                pending: Vec::new(),
            },
        });
        self.nodes.len() - 1
    }

    pub fn is_dir(&self, inode: Inode) -> bool {
        matches!(self.nodes[inode], Node::Dir { .. })
    }

    pub fn lookup(&self, parent: Inode, name: &str) -> Option<Inode> {
        match &self.nodes[parent] {
            Node::Dir { now, .. } => now.get(name).copied(),
            Node::File { .. } => None,
        }
    }

    /// A file's bytes begin to change. Returns what to say at its end.
    pub fn change(&mut self, inode: Inode, change: Change) -> u64 {
        let id = self.id();
        if let Node::File { pending, .. } = &mut self.nodes[inode] {
            pending.push(Pending {
                id,
                ended: false,
                change,
            });
        }
        id
    }

    /// Names in a directory begin to change.
    pub fn names(&mut self, parent: Inode, change: Names) -> u64 {
        let id = self.id();
        if let Node::Dir { now, pending, .. } = &mut self.nodes[parent] {
            set(now, &change);
            pending.push(Pending {
                id,
                ended: false,
                change,
            });
        }
        id
    }

    pub fn ended(&mut self, inode: Inode, id: u64) {
        match &mut self.nodes[inode] {
            Node::File { pending, .. } => end(pending, id),
            Node::Dir { pending, .. } => end(pending, id),
        }
    }

    /// What a sync that begins now makes durable.
    pub fn sync(&self, inode: Inode) -> Vec<u64> {
        match &self.nodes[inode] {
            Node::File { pending, .. } => ended(pending),
            Node::Dir { pending, .. } => ended(pending),
        }
    }

    /// A sync has ended.
    pub fn synced(&mut self, inode: Inode, ids: &[u64]) {
        match &mut self.nodes[inode] {
            Node::File { durable, pending } => {
                for done in pending.extract_if(.., |change| ids.contains(&change.id)) {
                    write(durable, &done.change, |_| true);
                }
            }
            Node::Dir {
                durable, pending, ..
            } => {
                for done in pending.extract_if(.., |change| ids.contains(&change.id)) {
                    set(durable, &done.change);
                }
            }
        }
    }

    /// Writes to `to` what a power cut now could leave.
    pub fn image(&self, cut: Cut, random: &mut Random, to: &Path) {
        let oldest = self
            .nodes
            .iter()
            .filter_map(oldest)
            .min()
            .unwrap_or(self.next);
        let keep_before = oldest + random.below(self.next - oldest + 1);
        self.write(0, cut, keep_before, random, to);
    }

    fn write(&self, inode: Inode, cut: Cut, keep_before: u64, random: &mut Random, to: &Path) {
        let mut keep = |id: u64, names: bool| match cut {
            Cut::Nothing => false,
            Cut::Everything => true,
            Cut::InOrder => id < keep_before,
            Cut::Changes => random.one_in(2),
            Cut::Sectors => true,
            Cut::NoNames => !names,
            Cut::NoBytes => names,
        };
        match &self.nodes[inode] {
            Node::File { durable, pending } => {
                let mut bytes = durable.clone();
                for change in pending {
                    if keep(change.id, false) {
                        let torn = cut == Cut::Sectors;
                        let mut some = Random(change.id ^ keep_before.rotate_left(40));
                        write(&mut bytes, &change.change, |_| !torn || some.one_in(2));
                    }
                }
                fs::write(to, bytes).unwrap();
            }
            Node::Dir {
                durable, pending, ..
            } => {
                let mut entries = durable.clone();
                let torn = cut == Cut::Sectors;
                let mut some = Random(keep_before ^ inode as u64);
                for change in pending {
                    if keep(change.id, true) && (!torn || some.one_in(2)) {
                        set(&mut entries, &change.change);
                    }
                }
                fs::create_dir_all(to).unwrap();
                for (name, inode) in entries {
                    self.write(inode, cut, keep_before, random, &to.join(name));
                }
            }
        }
    }

    fn id(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

fn dir(entries: BTreeMap<String, Inode>) -> Node {
    Node::Dir {
        durable: entries.clone(),
        now: entries,
        pending: Vec::new(),
    }
}

fn end<T>(pending: &mut [Pending<T>], id: u64) {
    for change in pending.iter_mut().filter(|change| change.id == id) {
        change.ended = true;
    }
}

fn ended<T>(pending: &[Pending<T>]) -> Vec<u64> {
    let ended = pending.iter().filter(|change| change.ended);
    ended.map(|change| change.id).collect()
}

fn oldest(node: &Node) -> Option<u64> {
    match node {
        Node::File { pending, .. } => pending.first().map(|change| change.id),
        Node::Dir { pending, .. } => pending.first().map(|change| change.id),
    }
}

fn set(entries: &mut BTreeMap<String, Inode>, change: &Names) {
    for (name, inode) in change {
        match inode {
            Some(inode) => drop(entries.insert(name.clone(), *inode)),
            None => drop(entries.remove(name)),
        }
    }
}

/// Changes those sectors that `keep` says. The file grows even where the last of its sectors is lost.
fn write(file: &mut Vec<u8>, change: &Change, mut keep: impl FnMut(usize) -> bool) {
    match change {
        Change::Resize(length) => file.resize(*length as usize, 0),
        Change::Write { at, bytes } => {
            let at = *at as usize;
            if file.len() < at + bytes.len() {
                file.resize(at + bytes.len(), 0);
            }
            let mut done = 0;
            while done < bytes.len() {
                let sector = (at + done) / SECTOR;
                let part = ((sector + 1) * SECTOR - (at + done)).min(bytes.len() - done);
                if keep(sector) {
                    file[at + done..at + done + part].copy_from_slice(&bytes[done..done + part]);
                }
                done += part;
            }
        }
    }
}
