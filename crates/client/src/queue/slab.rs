//! Where users are kept, and the lines that they stand in.

use std::collections::BTreeMap;
use std::ops::RangeBounds;

use quota::Wait;

/// Stands for no index and no second.
pub const NONE: u32 = u32::MAX;
/// Users in one piece of memory: pieces are never moved, so a queue that grows copies nothing and wastes
/// less than one of them.
const PIECE: usize = 1 << PIECE_BITS;
const PIECE_BITS: u32 = 10;

/// A user.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// The token's id.
    pub id: u64,
    /// The second of arrival.
    pub second: u32,
    /// The second in which the session began; [`NONE`] where none has.
    pub start: u32,
    /// The second of the last sign.
    pub seen: u32,
    /// The second in which the session is to end; [`NONE`] where only the limit says.
    pub ends: u32,
    /// The second at which to look again; [`NONE`] for never.
    pub due: u32,
    links: [Link; 2],
    /// The wait that was foretold on arrival, in seconds at 50 % and 90 %; 0 for none.
    pub told: [u16; 2],
    /// The class.
    pub class: u8,
    /// How the user stands.
    pub state: State,
    /// Whether the session is under [`Grant::shorten`](super::Grant::shorten).
    pub shortened: bool,
}

/// How a user stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Nobody.
    Free,
    /// Was in line when the lease ended: whether another front-end has the ticket is being asked.
    Checking,
    /// In the line of the class.
    Waiting,
    /// Has a slot, and is called in a moment.
    Next,
    /// Has a slot, and has not come yet.
    Called,
    /// Has a slot.
    Seated,
}

#[derive(Debug, Clone, Copy)]
struct Link {
    before: u32,
    after: u32,
}

const APART: Link = Link {
    before: NONE,
    after: NONE,
};

impl Entry {
    /// A user who has just come.
    pub fn new(id: u64, class: u8, second: u32, seen: u32) -> Self {
        Self {
            id,
            second,
            start: NONE,
            seen,
            ends: NONE,
            due: NONE,
            links: [APART; 2],
            told: [0; 2],
            class,
            state: State::Waiting,
            shortened: false,
        }
    }

    /// Remembers the wait that was foretold.
    pub fn foretell(&mut self, wait: Option<Wait>) {
        if let Some(wait) = wait {
            self.told = [wait.p50_s, wait.p90_s].map(|s| s.clamp(1, u16::MAX.into()) as u16);
        }
    }
}

/// All users of a front-end.
#[derive(Debug, Default)]
pub struct Slab {
    pieces: Vec<Vec<Entry>>,
    /// The first free place; the others hang on it by their first link.
    free: Option<u32>,
    /// Places ever used.
    end: u32,
    users: u32,
}

impl Slab {
    /// Users kept.
    pub fn len(&self) -> u32 {
        self.users
    }

    /// The place that the next user gets.
    pub fn next(&self) -> u32 {
        self.free.unwrap_or(self.end)
    }

    /// Keeps a user at [`Slab::next`].
    pub fn insert(&mut self, entry: Entry) -> u32 {
        self.users += 1;
        let at = self.next();
        if let Some(free) = self.free {
            let after = self[free].links[0].after;
            self.free = (after != NONE).then_some(after);
            self[at] = entry;
            return at;
        }
        self.end += 1;
        match self.pieces.last_mut() {
            Some(piece) if piece.len() < PIECE => piece.push(entry),
            _ => {
                let mut piece = Vec::with_capacity(PIECE);
                piece.push(entry);
                self.pieces.push(piece);
            }
        }
        at
    }

    /// Forgets a user, who stands in no line any more.
    pub fn remove(&mut self, at: u32) {
        let after = self.free.unwrap_or(NONE);
        let entry = &mut self[at];
        entry.state = State::Free;
        entry.links[0].after = after;
        self.free = Some(at);
        self.users -= 1;
    }

    /// The user with this id at this place.
    pub fn find(&self, at: u32, id: u64) -> Option<&Entry> {
        self.pieces
            .get((at >> PIECE_BITS) as usize)?
            .get(at as usize % PIECE)
            .filter(|entry| entry.id == id && entry.state != State::Free)
    }

    /// Every user's place, for what is rare.
    pub fn places(&self) -> impl Iterator<Item = u32> + use<'_> {
        (0..self.end).filter(|&at| self[at].state != State::Free)
    }

    /// Bytes of memory, without what the allocator adds.
    #[cfg(test)]
    pub fn bytes(&self) -> usize {
        self.pieces.len() * PIECE * size_of::<Entry>()
            + self.pieces.capacity() * size_of::<Vec<Entry>>()
    }
}

impl std::ops::Index<u32> for Slab {
    type Output = Entry;
    fn index(&self, at: u32) -> &Entry {
        &self.pieces[(at >> PIECE_BITS) as usize][at as usize % PIECE]
    }
}

impl std::ops::IndexMut<u32> for Slab {
    fn index_mut(&mut self, at: u32) -> &mut Entry {
        &mut self.pieces[(at >> PIECE_BITS) as usize][at as usize % PIECE]
    }
}

/// Users by a second, and within it in the order in which they came. `L` says which of their two links
/// it uses: a user stands in at most one line of each.
#[derive(Debug, Default)]
pub struct Line<const L: usize> {
    seconds: BTreeMap<u32, Group>,
    users: u64,
}

/// Users of one second.
#[derive(Debug, Clone, Copy)]
pub struct Group {
    first: u32,
    last: u32,
    /// How many.
    pub users: u32,
    /// How many of earlier seconds, when it was last counted.
    pub ahead: u32,
}

impl<const L: usize> Line<L> {
    /// Users in line.
    pub fn len(&self) -> u64 {
        self.users
    }

    /// Whether there is nobody.
    pub fn is_empty(&self) -> bool {
        self.users == 0
    }

    /// Adds a user after all of the same second.
    pub fn push(&mut self, slab: &mut Slab, at: u32, second: u32) {
        self.users += 1;
        let ahead = u32::try_from(self.users - 1).unwrap_or(NONE);
        let group = self.seconds.entry(second).or_insert(Group {
            first: NONE,
            last: NONE,
            users: 0,
            ahead,
        });
        slab[at].links[L] = Link {
            before: group.last,
            after: NONE,
        };
        match group.last {
            NONE => group.first = at,
            last => slab[last].links[L].after = at,
        }
        group.last = at;
        group.users += 1;
    }

    /// Takes a user out of their second.
    pub fn remove(&mut self, slab: &mut Slab, at: u32, second: u32) {
        let Some(group) = self.seconds.get_mut(&second) else {
            return;
        };
        let Link { before, after } = std::mem::replace(&mut slab[at].links[L], APART);
        match before {
            NONE => group.first = after,
            before => slab[before].links[L].after = after,
        }
        match after {
            NONE => group.last = before,
            after => slab[after].links[L].before = before,
        }
        group.users -= 1;
        self.users -= 1;
        if group.users == 0 {
            self.seconds.remove(&second);
        }
    }

    /// The oldest second, and who came first in it.
    pub fn first(&self) -> Option<(u32, u32)> {
        let (&second, group) = self.seconds.first_key_value()?;
        Some((second, group.first))
    }

    /// Its seconds, the oldest first.
    pub fn seconds(&self) -> impl Iterator<Item = (u32, u32)> + use<'_, L> {
        self.seconds
            .iter()
            .map(|(&second, group)| (second, group.users))
    }

    /// Some of its seconds, the oldest first.
    pub fn range(&self, range: impl RangeBounds<u32>) -> impl Iterator<Item = (u32, u32)> {
        self.seconds
            .range(range)
            .map(|(&second, group)| (second, group.users))
    }

    /// Who came in some of the seconds, in order.
    pub fn within<'a>(
        &'a self,
        slab: &'a Slab,
        range: impl RangeBounds<u32>,
    ) -> impl Iterator<Item = u32> + 'a {
        self.seconds.range(range).flat_map(move |(_, group)| {
            std::iter::successors(Some(group.first), |&at| {
                Some(slab[at].links[L].after).filter(|&after| after != NONE)
            })
        })
    }

    /// Everybody, who came last first.
    pub fn newest<'a>(&'a self, slab: &'a Slab) -> impl Iterator<Item = u32> + 'a {
        self.seconds.iter().rev().flat_map(move |(_, group)| {
            std::iter::successors(Some(group.last), |&at| {
                Some(slab[at].links[L].before).filter(|&before| before != NONE)
            })
        })
    }

    /// Users of seconds before this one, where it is the last.
    pub fn ahead_of_last(&self, second: u32) -> Option<u64> {
        let (&last, group) = self.seconds.last_key_value()?;
        (last == second).then(|| self.users - u64::from(group.users))
    }

    /// Users of seconds before this one, when they were last counted.
    pub fn ahead(&self, second: u32) -> u64 {
        self.seconds
            .get(&second)
            .map_or(0, |group| u64::from(group.ahead))
    }

    /// Counts who is ahead of each second.
    pub fn count(&mut self) {
        let mut ahead = 0;
        for group in self.seconds.values_mut() {
            group.ahead = ahead;
            ahead += group.users;
        }
    }

    /// How many stand in it, counted one by one from either end.
    #[cfg(test)]
    pub fn check(&self, slab: &Slab) -> usize {
        let most = self.users as usize + 1;
        let mut there: Vec<u32> = self.within(slab, ..).take(most).collect();
        let back: Vec<u32> = self.newest(slab).take(most).collect();
        there.reverse();
        assert_eq!(there, back);
        assert_eq!(there.len() + 1, most);
        let groups: u64 = self
            .seconds
            .values()
            .map(|group| u64::from(group.users))
            .sum();
        assert_eq!(groups, self.users);
        there.len()
    }

    /// Bytes of memory at the most, by what a B-tree may waste: its nodes are at least half full.
    #[cfg(test)]
    pub fn bytes(&self) -> usize {
        2 * self.seconds.len() * (size_of::<u32>() + size_of::<Group>() + size_of::<usize>())
    }
}
