//! When the entries of a calendar take effect, by a wall clock that is given: no clock is read here.
//!
//! A minute of the local day that the clocks skip in spring is taken as much later as they skip, and one
//! that they pass twice in autumn is taken the first time.

use jiff::civil::{Date, Time};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{Span, Timestamp};

/// The time zone of entries that name none, for regions that have none.
pub const DEFAULT_ZONE: &str = "Europe/Paris";
/// An occurrence that was missed, for want of a leader, is made up for within so many seconds: 12 hours.
pub const CATCH_UP_S: i64 = 12 * 60 * 60;

/// When an entry takes effect, in seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rule {
    /// Once.
    At(i64),
    /// At a minute of the local day, on the days whose bits are set: bit 0 is Monday.
    Weekly {
        /// The days.
        days: u8,
        /// The minute, 0 to 1,439.
        minute: u16,
        /// Where it is local.
        zone: TimeZone,
    },
}

/// The zone of this name, out of the IANA's database as it is built into this version.
pub fn zone(name: &str) -> Option<TimeZone> {
    jiff::tz::db().get(name).ok()
}

impl Rule {
    /// The last occurrence at or before `now`.
    pub fn last(&self, now: i64) -> Option<i64> {
        match self {
            Self::At(at) => Some(*at).filter(|&at| at <= now),
            // A week back there is one of each day; one day more for what the clocks shift.
            Self::Weekly { days, minute, zone } => around(zone, now, (-8..=1).rev())?
                .filter(|day| on(*days, *day))
                .filter_map(|day| local(zone, day, *minute))
                .find(|&at| at <= now),
        }
    }

    /// The first occurrence after `now`.
    pub fn next(&self, now: i64) -> Option<i64> {
        match self {
            Self::At(at) => Some(*at).filter(|&at| at > now),
            Self::Weekly { days, minute, zone } => around(zone, now, -1..=8)?
                .filter(|day| on(*days, *day))
                .filter_map(|day| local(zone, day, *minute))
                .find(|&at| at > now),
        }
    }

    /// The occurrence that is to be applied at `now`, where there is one: the last, if it is later than
    /// `applied` (the last that was, or before which nothing counts) and no older than [`CATCH_UP_S`].
    pub fn due(&self, applied: Option<i64>, now: i64) -> Option<i64> {
        self.last(now)
            .filter(|&at| at > now.saturating_sub(CATCH_UP_S))
            .filter(|&at| applied.is_none_or(|applied| at > applied))
    }
}

/// Days so many from the one that it is at `now`.
fn around(
    zone: &TimeZone,
    now: i64,
    days: impl Iterator<Item = i64>,
) -> Option<impl Iterator<Item = Date>> {
    let today = zone.to_datetime(Timestamp::from_second(now).ok()?).date();
    Some(days.filter_map(move |by| today.checked_add(Span::new().try_days(by).ok()?).ok()))
}

fn on(days: u8, day: Date) -> bool {
    let bit = day.weekday().to_monday_zero_offset();
    days >> bit & 1 == 1
}

/// The moment of a local minute.
fn local(zone: &TimeZone, day: Date, minute: u16) -> Option<i64> {
    let (hour, minute) = (
        i8::try_from(minute / 60).ok()?,
        i8::try_from(minute % 60).ok()?,
    );
    let at = day.to_datetime(Time::new(hour, minute, 0, 0).ok()?);
    // Both take the offset from before the clocks shift: in a gap that is later, in a fold the first time.
    let offset = match zone.to_ambiguous_timestamp(at).offset() {
        AmbiguousOffset::Unambiguous { offset } => offset,
        AmbiguousOffset::Gap { before, .. } | AmbiguousOffset::Fold { before, .. } => before,
    };
    Some(offset.to_timestamp(at).ok()?.as_second())
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEEKDAYS: u8 = 0b001_1111;
    const SUNDAY: u8 = 0b100_0000;
    const EVERY_DAY: u8 = 0b111_1111;

    fn weekly(days: u8, hour: u16, minute: u16, name: &str) -> Rule {
        Rule::Weekly {
            days,
            minute: hour * 60 + minute,
            zone: zone(name).expect("a zone of the database"),
        }
    }

    /// Seconds of a moment in UTC.
    fn utc(text: &str) -> i64 {
        text.parse::<Timestamp>().expect("a moment").as_second()
    }

    fn text(at: Option<i64>) -> String {
        at.map_or("never".into(), |at| {
            Timestamp::from_second(at).expect("a moment").to_string()
        })
    }

    #[test]
    fn the_zones_of_france_open_at_their_own_hour() {
        // Tuesday 6 April 2027, 08:45 local, as UTC.
        let cases = [
            ("Europe/Paris", "2027-04-06T06:45:00Z"),
            ("Indian/Reunion", "2027-04-06T04:45:00Z"),
            ("Indian/Mayotte", "2027-04-06T05:45:00Z"),
            ("America/Martinique", "2027-04-06T12:45:00Z"),
            ("America/Guadeloupe", "2027-04-06T12:45:00Z"),
            ("America/Cayenne", "2027-04-06T11:45:00Z"),
        ];
        for (name, expected) in cases {
            let rule = weekly(WEEKDAYS, 8, 45, name);
            let before = utc("2027-04-06T03:00:00Z");
            assert_eq!(text(rule.next(before)), expected, "{name}");
            assert_eq!(text(rule.last(utc(expected))), expected, "{name}");
            assert_eq!(rule.next(utc(expected) - 1), Some(utc(expected)), "{name}");
            assert_ne!(rule.last(utc(expected) - 1), Some(utc(expected)), "{name}");
        }
    }

    #[test]
    fn the_local_hour_stays_when_the_clocks_shift() {
        let rule = weekly(EVERY_DAY, 8, 45, "Europe/Paris");
        // (a moment before, the next occurrence): the days of the shift and those beside them.
        let cases = [
            ("2027-03-27T00:00:00Z", "2027-03-27T07:45:00Z"),
            ("2027-03-27T12:00:00Z", "2027-03-28T06:45:00Z"),
            ("2027-03-28T12:00:00Z", "2027-03-29T06:45:00Z"),
            ("2027-10-30T00:00:00Z", "2027-10-30T06:45:00Z"),
            ("2027-10-30T12:00:00Z", "2027-10-31T07:45:00Z"),
            ("2027-10-31T12:00:00Z", "2027-11-01T07:45:00Z"),
        ];
        for (now, expected) in cases {
            assert_eq!(text(rule.next(utc(now))), expected, "after {now}");
        }
        // Overseas the clocks never shift.
        let reunion = weekly(EVERY_DAY, 8, 45, "Indian/Reunion");
        for day in ["2027-03-27", "2027-03-28", "2027-10-31", "2027-11-01"] {
            let expected = format!("{day}T04:45:00Z");
            let now = utc(&format!("{day}T00:00:00Z"));
            assert_eq!(text(reunion.next(now)), expected);
        }
    }

    #[test]
    fn a_minute_that_is_skipped_comes_as_much_later() {
        // On 28 March 2027 the clocks of Paris go from 02:00 to 03:00.
        let rule = weekly(SUNDAY, 2, 30, "Europe/Paris");
        let skipped = "2027-03-28T01:30:00Z"; // 03:30 there
        assert_eq!(text(rule.next(utc("2027-03-27T12:00:00Z"))), skipped);
        assert_eq!(text(rule.last(utc("2027-03-28T01:30:00Z"))), skipped);
        assert_eq!(
            text(rule.last(utc("2027-03-28T01:29:59Z"))),
            "2027-03-21T01:30:00Z"
        );
        assert_eq!(text(rule.next(utc(skipped))), "2027-04-04T00:30:00Z");
    }

    #[test]
    fn a_minute_that_comes_twice_counts_the_first_time() {
        // On 31 October 2027 the clocks of Paris go from 03:00 back to 02:00.
        let rule = weekly(SUNDAY, 2, 30, "Europe/Paris");
        let first = "2027-10-31T00:30:00Z";
        assert_eq!(text(rule.next(utc("2027-10-30T12:00:00Z"))), first);
        assert_eq!(text(rule.next(utc(first))), "2027-11-07T01:30:00Z");
        // The second 02:30 is no occurrence.
        assert_eq!(text(rule.last(utc("2027-10-31T01:30:00Z"))), first);
        assert_eq!(
            rule.due(Some(utc(first)), utc("2027-10-31T01:30:00Z")),
            None
        );
    }

    #[test]
    fn only_the_days_that_are_set() {
        let rule = weekly(WEEKDAYS, 8, 45, "Europe/Paris");
        // Friday 9 April 2027, past the opening: the next is on Monday.
        let friday = utc("2027-04-09T06:45:00Z");
        assert_eq!(text(rule.next(friday)), "2027-04-12T06:45:00Z");
        assert_eq!(rule.last(utc("2027-04-11T20:00:00Z")), Some(friday));
        let sundays = weekly(SUNDAY, 0, 0, "Europe/Paris");
        assert_eq!(text(sundays.next(friday)), "2027-04-10T22:00:00Z");
        let never = weekly(0, 0, 0, "Europe/Paris");
        assert_eq!((never.next(friday), never.last(friday)), (None, None));
    }

    #[test]
    fn once_is_once() {
        let rule = Rule::At(1_000_000);
        assert_eq!(
            (rule.last(999_999), rule.next(999_999)),
            (None, Some(1_000_000))
        );
        assert_eq!(
            (rule.last(1_000_000), rule.next(1_000_000)),
            (Some(1_000_000), None)
        );
        assert_eq!(rule.due(None, 1_000_000), Some(1_000_000));
        assert_eq!(rule.due(Some(1_000_000), 1_000_001), None);
    }

    #[test]
    fn what_was_missed_is_made_up_for_within_the_window() {
        let rule = weekly(EVERY_DAY, 8, 45, "Europe/Paris");
        let (before, missed) = (utc("2027-04-05T06:45:00Z"), utc("2027-04-06T06:45:00Z"));
        for (late, expected) in [
            (0, Some(missed)),
            (1, Some(missed)),
            (CATCH_UP_S - 1, Some(missed)),
            (CATCH_UP_S, None),
        ] {
            assert_eq!(
                rule.due(Some(before), missed + late),
                expected,
                "{late} s late"
            );
        }
        // After three days without a leader the latest alone.
        assert_eq!(
            rule.due(Some(missed - 3 * 86_400), missed + 5),
            Some(missed)
        );
    }

    #[test]
    fn a_clock_that_jumps_applies_no_occurrence_twice() {
        let rule = weekly(EVERY_DAY, 8, 45, "Europe/Paris");
        let opening = utc("2027-04-06T06:45:00Z");
        let mut applied = Some(opening - 86_400);
        let mut times = Vec::new();
        // To the hour, an hour back, to the same hour again, a day ahead, and back.
        for now in [
            opening - 1,
            opening,
            opening + 2,
            opening - 3_600,
            opening,
            opening + 86_400,
            opening + 60,
            opening + 86_400 + 60,
        ] {
            if let Some(at) = rule.due(applied, now) {
                applied = Some(at);
                times.push(at);
            }
        }
        assert_eq!(times, [opening, opening + 86_400]);
    }

    #[test]
    fn nothing_that_comes_from_outside_can_break_it() {
        for now in [i64::MIN, -1, 0, i64::MAX] {
            let rule = weekly(EVERY_DAY, 8, 45, "Europe/Paris");
            let (last, next) = (rule.last(now), rule.next(now));
            assert!(last.is_none_or(|at| at <= now) && next.is_none_or(|at| at > now));
            assert!(rule.due(None, now).is_none_or(|at| at <= now));
            assert!(Rule::At(now).due(None, i64::MAX).is_none_or(|at| at == now));
        }
        let day_of_2_000_minutes = weekly(EVERY_DAY, 0, 2_000, "Europe/Paris");
        assert_eq!(day_of_2_000_minutes.next(0), None);
        for name in ["", "Europe/Nowhere", "../etc/passwd", "Paris"] {
            assert_eq!(zone(name), None, "{name}");
        }
    }
}
