//! Free slots in one atomic word: taking one is one swap, and so is giving it back.

use std::sync::Arc;

use super::sync::{AtomicU64, Ordering};

/// Most seats that one holder can have open; slots granted above this go unused.
pub const MAX_SEATS: u64 = (1 << 28) - 1;

/// How many generations' deadlines are kept. A thread that is slower than this many changes finds that
/// the word has changed under it, and looks again.
const DEADLINES: usize = 8;

const FREE_BITS: u32 = 30;
const FREE: u64 = (1 << FREE_BITS) - 1;
/// Stands for no free slot: what is below it is owed.
const NONE: u64 = 1 << (FREE_BITS - 1);
const PASSES_ON: u64 = 1 << FREE_BITS;
const GENERATION_AT: u32 = FREE_BITS + 1;
const GENERATION: u64 = 0xff << GENERATION_AT;
const VERSION: u64 = 1 << (GENERATION_AT + 8);

/// The word, from its low end: 30 bits of free slots, 1 that says that freed slots are passed on to the pot,
/// 8 of generation, 25 of version. The generation names the deadline that goes with the slots, so that no
/// thread can pair one grant's slots with another's deadline. The version goes up with every change but a
/// taking, so that a word which was empty twice at the same version was empty all the time in between.
#[derive(Clone, Copy)]
struct Word(u64);

impl Word {
    fn free(self) -> i64 {
        (self.0 & FREE).cast_signed() - NONE.cast_signed()
    }

    fn generation(self) -> u64 {
        (self.0 & GENERATION) >> GENERATION_AT
    }

    fn passes_on(self) -> bool {
        self.0 & PASSES_ON != 0
    }

    fn version(self) -> u64 {
        self.0 & !(VERSION - 1)
    }

    fn plus(self, slots: i64) -> Self {
        Self(self.0.wrapping_add_signed(slots))
    }

    fn passing_on(self, yes: bool) -> Self {
        Self(self.0 & !PASSES_ON | if yes { PASSES_ON } else { 0 })
    }

    fn of_generation(self, generation: u64) -> Self {
        Self(self.0 & !GENERATION | generation << GENERATION_AT & GENERATION)
    }

    fn next_version(self) -> Self {
        Self(self.0.wrapping_add(VERSION))
    }
}

/// On cache lines of its own, two of which are often fetched together.
#[derive(Debug)]
#[repr(align(128))]
pub struct Apart<T>(pub T);

/// By generation, nanoseconds on the holder's clock.
#[derive(Debug)]
pub struct Deadlines([AtomicU64; DEADLINES]);

impl Deadlines {
    pub fn new() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }

    fn at(&self, generation: u64) -> &AtomicU64 {
        &self.0[(generation % DEADLINES as u64) as usize]
    }

    /// Says the deadline of a generation that no word has yet.
    pub fn set(&self, generation: u64, nanos: u64) {
        self.at(generation).store(nanos, Ordering::Release);
    }
}

/// Free slots.
#[derive(Debug)]
pub struct Purse {
    word: Apart<AtomicU64>,
    /// Users refused, by threads that come here first.
    pub refused: Apart<AtomicU64>,
    /// Where freed slots go while there are some owed; `None` in the pot itself.
    pot: Option<Arc<Purse>>,
}

impl Purse {
    /// An empty one.
    pub fn new(pot: Option<Arc<Self>>) -> Self {
        Self {
            word: Apart(AtomicU64::new(NONE)),
            refused: Apart(AtomicU64::new(0)),
            pot,
        }
    }

    /// Takes a free slot, and gives the deadline that goes with it; or else the version at which there was none.
    pub fn take(&self, deadlines: &Deadlines) -> Result<u64, u64> {
        let mut word = self.word();
        loop {
            if word.free() <= 0 {
                return Err(word.version());
            }
            let deadline = deadlines.at(word.generation()).load(Ordering::Acquire);
            match self.swap(word, word.plus(-1)) {
                Ok(()) => return Ok(deadline),
                Err(current) => word = current,
            }
        }
    }

    /// Frees a slot, whichever purse it was taken from.
    pub fn release(&self) {
        let mut word = self.word();
        loop {
            if word.passes_on()
                && let Some(pot) = &self.pot
            {
                return pot.release();
            }
            match self.swap(word, word.plus(1).next_version()) {
                Ok(()) => return,
                Err(current) => word = current,
            }
        }
    }

    /// Free slots; below zero, slots that are owed.
    pub fn free(&self) -> i64 {
        self.word().free()
    }

    /// Which deadline goes with the slots here.
    pub fn generation(&self) -> u64 {
        self.word().generation()
    }

    /// Adds slots, and has those of a generation from here on.
    pub fn open(&self, generation: u64, more: u64, pass_on: bool) {
        self.change(|word| {
            word.plus(more.cast_signed())
                .of_generation(generation)
                .passing_on(pass_on)
        });
    }

    /// Takes free slots out of use, up to `most`, and says how many there were. Where it is to pass on, none
    /// is freed here any more.
    pub fn take_away(&self, most: u64, pass_on: bool) -> u64 {
        let taken = |word: Word| word.free().clamp(0, most.cast_signed());
        let before = self.change(|word| {
            word.plus(-taken(word))
                .passing_on(pass_on || word.passes_on())
        });
        taken(before).unsigned_abs()
    }

    /// Takes this many slots out of use, free or not: those that are not are owed.
    pub fn owe(&self, slots: u64) {
        self.change(|word| word.plus(-slots.cast_signed()));
    }

    /// Changes the word, and gives back what it was.
    fn change(&self, f: impl Fn(Word) -> Word) -> Word {
        let mut word = self.word();
        loop {
            match self.swap(word, f(word).next_version()) {
                Ok(()) => return word,
                Err(current) => word = current,
            }
        }
    }

    // All words go by one order, which is what "at one instant" means where there are several of them.
    fn word(&self) -> Word {
        Word(self.word.0.load(Ordering::SeqCst))
    }

    fn swap(&self, from: Word, to: Word) -> Result<(), Word> {
        self.word
            .0
            .compare_exchange_weak(from.0, to.0, Ordering::SeqCst, Ordering::SeqCst)
            .map(drop)
            .map_err(Word)
    }
}
