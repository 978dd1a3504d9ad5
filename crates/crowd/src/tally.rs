//! What has happened to them, in counts.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hdrhistogram::{CreationError, Histogram};

/// Times are told apart up to this; a longer one counts as this long.
const LONGEST_US: u64 = 3_600 * 1_000_000;
const DIGITS: u8 = 3;

/// What has happened so far.
#[derive(Debug, Clone)]
pub struct Tally {
    /// Who have come.
    pub arrived: u64,
    /// Who have been let in, each counted once.
    pub seated: u64,
    /// Who have come, and are neither in nor through.
    pub waiting: u64,
    /// Who are in now.
    pub inside: u64,
    /// Who said that they leave.
    pub left: u64,
    /// Who just went.
    pub gone: u64,
    /// Who lost patience.
    pub gave_up: u64,
    /// Who were in, and whose session was gone before they went.
    pub thrown_out: u64,
    /// States of the gate's that are no waiting, and statuses that are no page, by how often they were met.
    pub refused: BTreeMap<String, u64>,
    /// Requests without an answer, by why.
    pub errors: BTreeMap<String, u64>,
    /// Answers to pressers, by status.
    pub presses: BTreeMap<u16, u64>,
    /// Times of what the gate answered, in microseconds.
    pub gate_us: Histogram<u64>,
    /// Times of what the portal answered, in microseconds.
    pub portal_us: Histogram<u64>,
    /// From coming to being let in, in microseconds.
    pub waited_us: Histogram<u64>,
    /// How long people in a session could see nothing of the portal, in microseconds: the gate had to ask about
    /// them, or did not answer.
    pub interrupted_us: Histogram<u64>,
    /// Everybody's, in the order of coming.
    pub passages: Vec<Passage>,
}

/// When somebody came and was let in, since the crowd's beginning.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Passage {
    /// `None`: not yet.
    pub arrived: Option<Duration>,
    /// `None`: not yet, or never.
    pub seated: Option<Duration>,
}

impl Tally {
    fn new(people: usize) -> Result<Self, CreationError> {
        let histogram = || Histogram::new_with_bounds(1, LONGEST_US, DIGITS);
        Ok(Self {
            arrived: 0,
            seated: 0,
            waiting: 0,
            inside: 0,
            left: 0,
            gone: 0,
            gave_up: 0,
            thrown_out: 0,
            refused: BTreeMap::new(),
            errors: BTreeMap::new(),
            presses: BTreeMap::new(),
            gate_us: histogram()?,
            portal_us: histogram()?,
            waited_us: histogram()?,
            interrupted_us: histogram()?,
            passages: vec![Passage::default(); people],
        })
    }

    /// One more of something that is counted by name.
    pub(crate) fn refuse(&mut self, what: &str) {
        *self.refused.entry(what.to_owned()).or_default() += 1;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |times: &Histogram<u64>, quantile| times.value_at_quantile(quantile) / 1_000;
        writeln!(
            f,
            "{} came, {} let in ({} said that they left, {} just went, {} thrown out), {} gave up; {} wait, {} in",
            self.arrived,
            self.seated,
            self.left,
            self.gone,
            self.thrown_out,
            self.gave_up,
            self.waiting,
            self.inside
        )?;
        for (what, times) in [
            ("waited", &self.waited_us),
            ("interrupted", &self.interrupted_us),
            ("gate", &self.gate_us),
            ("portal", &self.portal_us),
        ] {
            writeln!(
                f,
                "{what}: {} times, p50 {} ms, p99 {} ms, longest {} ms",
                times.len(),
                ms(times, 0.5),
                ms(times, 0.99),
                ms(times, 1.0)
            )?;
        }
        write!(
            f,
            "refused: {:?}; errors: {:?}; pressers: {:?}",
            self.refused, self.errors, self.presses
        )
    }
}

/// The counts, while they change.
#[derive(Debug)]
pub(crate) struct Ledger(Mutex<Tally>);

impl Ledger {
    pub fn new(people: usize) -> Result<Self, CreationError> {
        Tally::new(people).map(|tally| Self(Mutex::new(tally)))
    }

    pub fn tally(&self) -> Tally {
        self.lock().clone()
    }

    pub fn lock(&self) -> MutexGuard<'_, Tally> {
        // Counts are whole after each change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whole microseconds, within what histograms hold.
pub(crate) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros())
        .unwrap_or(u64::MAX)
        .clamp(1, LONGEST_US)
}
