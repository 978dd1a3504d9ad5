//! The flags of `preau pool set` that change how a pool's users wait.

use api::v1;
use clap::ValueEnum;
use quota::limits::MAX_CLASSES;

use crate::budget::{Class, MAX_LIMIT_S, MAX_OVERTAKE_S, check_reclaim, check_session};
use crate::failure::Failure;

/// What is done where a region has more than its part.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Reclaim {
    /// Wait for sessions to end.
    Drain,
    /// Apply the limit while others wait to the newest sessions.
    Shorten,
}

/// How a pool's users wait: what is not given stays as it is.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A class of users, NAME[,weight=N][,first]: given once for each, and all of them replace those there are
    /// [new pool: everyone].
    #[arg(long = "class", value_name = "CLASS")]
    classes: Vec<Class>,
    /// Whoever has waited so many seconds is served before all who came later, whatever their class, 1 to
    /// 86,400 [new pool: 600].
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_OVERTAKE_S)))]
    overtake_s: Option<u32>,
    /// The longest session, in seconds, up to 604,800; 0 for no limit [new pool: none].
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u32).range(0..=i64::from(MAX_LIMIT_S)))]
    limit_s: Option<u32>,
    /// The longest session without a sign of its user; 0 for no limit [new pool: none].
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u32).range(0..=i64::from(MAX_LIMIT_S)))]
    idle_s: Option<u32>,
    /// The longest session while others wait; 0 for no limit [new pool: none].
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u32).range(0..=i64::from(MAX_LIMIT_S)))]
    when_waiting_s: Option<u32>,
    /// How long before a limit its user is told, in seconds [new pool: 0].
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u32).range(0..=i64::from(MAX_LIMIT_S)))]
    notice_s: Option<u32>,
    /// No session is made shorter than this, in seconds [new pool: 0].
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u32).range(0..=i64::from(MAX_LIMIT_S)))]
    least_s: Option<u32>,
    /// What is done where a region has more than its part [new pool: drain].
    #[arg(long, value_enum)]
    reclaim: Option<Reclaim>,
}

impl Args {
    /// Changes rules to what was given.
    pub fn change(&self, rules: &mut v1::Rules) -> Result<(), Failure> {
        if self.classes.len() > MAX_CLASSES {
            return Err(Failure::usage(format!(
                "--class: {} given, expected at most {MAX_CLASSES}",
                self.classes.len()
            )));
        }
        if !self.classes.is_empty() {
            rules.classes = self.classes.iter().map(|class| class.0.clone()).collect();
        }
        rules.overtake_s = self.overtake_s.or(rules.overtake_s);
        match self.reclaim {
            Some(Reclaim::Drain) => rules.set_reclaim(v1::Reclaim::Drain),
            Some(Reclaim::Shorten) => rules.set_reclaim(v1::Reclaim::Shorten),
            None => {}
        }
        let session = rules.session.get_or_insert_default();
        let limit = |given: Option<u32>, now: Option<u32>| match given {
            Some(0) => None,
            given => given.or(now),
        };
        session.limit_s = limit(self.limit_s, session.limit_s);
        session.idle_s = limit(self.idle_s, session.idle_s);
        session.when_waiting_s = limit(self.when_waiting_s, session.when_waiting_s);
        session.notice_s = self.notice_s.unwrap_or(session.notice_s);
        session.least_s = self.least_s.unwrap_or(session.least_s);
        match check_session(session) {
            Some((field, given, expected)) => Err(Failure::usage(format!(
                "--{}: {given} given, expected {expected}",
                field.replace('_', "-")
            ))),
            None => match check_reclaim(rules) {
                Some(expected) => Err(Failure::usage(format!(
                    "--reclaim: shorten given, expected {expected}"
                ))),
                None => Ok(()),
            },
        }
    }
}
