//! A pool's calendar, as a file says it and as people read it.

use api::v1;
use api::v1::calendar_entry::{Action, When};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use node::calendar::{DEFAULT_ZONE, zone};
use quota::limits::{MAX_CALENDAR, MAX_REASON_BYTES, MAX_SLOTS};

use super::Region;
use crate::fields::Fields;
use crate::output::thousands;

/// What a zone is to be.
pub const ZONE_EXPECTED: &str = "a time zone by the IANA's name, such as Europe/Paris";
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const DAYS_EXPECTED: &str = "days such as \"mon-fri\" or \"wed,sat,sun\"";
const ACTIONS: [&str; 5] = ["open", "close", "pause", "resume", "capacity"];

/// Reads the calendar of a pool with these regions. An entry `for_each_region` becomes one of each.
pub fn take(fields: &mut Fields<'_>, regions: &[Region]) -> Result<Vec<v1::CalendarEntry>, String> {
    let mut entries: Vec<v1::CalendarEntry> = Vec::new();
    for mut fields in fields.tables("calendar", MAX_CALENDAR)? {
        for entry in take_entry(&mut fields, regions)? {
            if entries.iter().any(|known| known.name == entry.name) {
                let given = format!("{:?} twice", entry.name);
                return Err(fields.refuse("name", &given, "one entry of a name in a calendar"));
            }
            entries.push(entry);
        }
        if entries.len() > MAX_CALENDAR {
            let expected = format!("at most {MAX_CALENDAR} in all");
            let given = format!("{} entries", entries.len());
            return Err(fields.refuse("name", &given, &expected));
        }
        fields.done()?;
    }
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}

fn take_entry(
    fields: &mut Fields<'_>,
    regions: &[Region],
) -> Result<Vec<v1::CalendarEntry>, String> {
    let name = fields.required_name("name")?;
    let known = |name: &str| regions.iter().find(|region| region.name == name);
    let region = fields.parsed(
        "region",
        "a region that the file has in this pool",
        |name| known(name).cloned(),
    )?;
    let each = fields.flag("for_each_region")?;
    if each && region.is_some() {
        return Err(fields.refuse("for_each_region", "true", "no region beside it"));
    }
    let action = take_action(fields, each || region.is_some())?;
    let zone = fields
        .parsed("zone", ZONE_EXPECTED, zone_name)?
        .unwrap_or_default();
    let at = fields.text("at", 64)?;
    let days = fields.parsed("days", DAYS_EXPECTED, days)?;
    let minute = fields.parsed("time", "a time of the day, 00:00 to 23:59", minute)?;
    let entry = |fields: &Fields<'_>, name: String, region: Option<&Region>| {
        let when = match (&at, days, minute) {
            (Some(at), None, None) => {
                let local = region.map_or("", |region| &region.zone);
                let zone = [&zone, local, DEFAULT_ZONE]
                    .into_iter()
                    .find(|z| !z.is_empty());
                moment(at, zone.unwrap_or(DEFAULT_ZONE))
                    .map(When::AtUnixS)
                    .ok_or_else(|| {
                        let expected = "a date and time, such as \"2027-04-06 08:45\"";
                        fields.refuse("at", &format!("{at:?}"), expected)
                    })?
            }
            (None, Some(days), Some(minute)) => When::Weekly(v1::Weekly {
                days,
                minute,
                zone: zone.clone(),
            }),
            (None, Some(_), None) => {
                return Err(fields.refuse("time", "nothing", "a time of the day, for these days"));
            }
            (None, None, Some(_)) => return Err(fields.refuse("days", "nothing", DAYS_EXPECTED)),
            (None, None, None) => {
                let expected = "a date and time; or days and time, for every week";
                return Err(fields.refuse("at", "nothing", expected));
            }
            (Some(_), ..) => {
                let expected = "no days or time beside it";
                return Err(fields.refuse("at", "a date and time", expected));
            }
        };
        Ok(v1::CalendarEntry {
            name,
            region: region.map(|region| region.name.clone()).unwrap_or_default(),
            when: Some(when),
            action: Some(action.clone()),
        })
    };
    if each {
        let regions = regions.iter();
        regions
            .map(|region| entry(fields, format!("{name}/{}", region.name), Some(region)))
            .collect()
    } else {
        Ok(vec![entry(fields, name, region.as_ref())?])
    }
}

fn take_action(fields: &mut Fields<'_>, of_region: bool) -> Result<Action, String> {
    let expected = format!("one of {}", ACTIONS.join(", "));
    let action = fields.parsed("action", &expected, |name| {
        ACTIONS.into_iter().find(|known| *known == name)
    })?;
    let action = action.ok_or_else(|| fields.refuse("action", "nothing", &expected))?;
    let mut reason = || {
        let reason = fields.text("reason", MAX_REASON_BYTES)?.unwrap_or_default();
        if reason.is_empty() {
            return Err(fields.refuse("reason", "nothing", "why, in words for users"));
        }
        Ok(reason)
    };
    Ok(match action {
        "close" => Action::Close(v1::CloseAction { reason: reason()? }),
        "pause" => Action::Pause(v1::PauseAction { reason: reason()? }),
        "resume" => Action::Resume(v1::ResumeAction {}),
        "capacity" if of_region => {
            return Err(fields.refuse("action", "\"capacity\"", "no region: it is a pool's"));
        }
        "capacity" => Action::SetCapacity(fields.required_number("capacity", 0..=MAX_SLOTS)?),
        _ => Action::Open(v1::OpenAction {}),
    })
}

/// The name, where there is a zone of it.
pub fn zone_name(name: &str) -> Option<String> {
    zone(name).map(|_| name.to_owned())
}

fn days(text: &str) -> Option<u32> {
    let day = |name: &str| DAYS.iter().position(|known| *known == name);
    let mut days = 0;
    for part in text.split(',').map(str::trim) {
        match part.split_once('-') {
            Some((from, to)) => {
                let (from, to) = (day(from)?, day(to)?);
                for day in (from <= to).then_some(from..=to)? {
                    days |= 1 << day;
                }
            }
            None => days |= 1 << day(part)?,
        }
    }
    Some(days)
}

fn days_text(days: u32) -> String {
    let on: Vec<usize> = (0..7).filter(|day| days >> day & 1 == 1).collect();
    match on.as_slice() {
        [first, .., last] if on.len() > 2 && last - first + 1 == on.len() => {
            format!("{}-{}", DAYS[*first], DAYS[*last])
        }
        _ => on
            .iter()
            .map(|&day| DAYS[day])
            .collect::<Vec<_>>()
            .join(","),
    }
}

fn minute(text: &str) -> Option<u32> {
    let (hour, minute) = text.split_once(':')?;
    let number = |text: &str, most: u32| {
        let digits = text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit());
        text.parse().ok().filter(|&n: &u32| digits && n <= most)
    };
    Some(number(hour, 23)? * 60 + number(minute, 59)?)
}

/// A date and time of a zone, in seconds since 1970.
fn moment(text: &str, name: &str) -> Option<i64> {
    if let Ok(absolute) = text.parse::<Timestamp>() {
        return Some(absolute.as_second());
    }
    let at: DateTime = text.parse().ok()?;
    let at = zone(name)?.to_ambiguous_timestamp(at).compatible().ok()?;
    Some(at.as_second())
}

/// A moment in the time of a zone, with the zone.
pub fn local(unix_s: i64, name: &str) -> String {
    let name = if name.is_empty() { DEFAULT_ZONE } else { name };
    let (name, zone) = match zone(name) {
        Some(zone) => (name, zone),
        None => ("UTC", TimeZone::UTC),
    };
    Timestamp::from_second(unix_s).map_or_else(
        |_| format!("{unix_s} s since 1970"),
        |at| {
            format!(
                "{} {name}",
                zone.to_datetime(at).strftime("%a %Y-%m-%d %H:%M:%S")
            )
        },
    )
}

/// When an entry takes effect, in words.
pub fn when_text(entry: &v1::CalendarEntry) -> String {
    match &entry.when {
        Some(When::AtUnixS(at)) => local(*at, ""),
        Some(When::Weekly(weekly)) => {
            let (hour, minute) = (weekly.minute / 60, weekly.minute % 60);
            let zone = if weekly.zone.is_empty() {
                "local"
            } else {
                &weekly.zone
            };
            format!("{} {hour:02}:{minute:02} {zone}", days_text(weekly.days))
        }
        None => "never".into(),
    }
}

/// What an entry does, in words.
pub fn what_text(entry: &v1::CalendarEntry) -> String {
    let what = match &entry.action {
        Some(Action::SetCapacity(slots)) => format!("capacity {}", thousands(*slots)),
        Some(Action::Open(_)) => "open".into(),
        Some(Action::Close(close)) => format!("close, {:?}", close.reason),
        Some(Action::Pause(pause)) => format!("pause, {:?}", pause.reason),
        Some(Action::Resume(_)) => "resume".into(),
        None => "nothing".into(),
    };
    match entry.region.as_str() {
        "" => what,
        region => format!("{what} (region {region:?})"),
    }
}

/// When an entry next takes effect, in its zone's time.
pub fn next_text(status: &v1::CalendarStatus) -> String {
    status
        .next_unix_s
        .map_or("-".into(), |at| local(at, &status.zone))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_times_are_read_as_they_are_written() {
        for (text, expected) in [
            ("mon-fri", Some(0b001_1111)),
            ("mon-sun", Some(0b111_1111)),
            ("wed,sat,sun", Some(0b110_0100)),
            ("mon", Some(1)),
            ("mon,tue", Some(3)),
            ("", None),
            ("fri-mon", None),
            ("Mon", None),
            ("mon-", None),
        ] {
            assert_eq!(days(text), expected, "{text}");
            if let Some(days) = expected {
                assert_eq!(days_text(days), text);
            }
        }
        for (text, expected) in [
            ("08:45", Some(525)),
            ("00:00", Some(0)),
            ("23:59", Some(1_439)),
            ("24:00", None),
            ("8:45", None),
            ("08:60", None),
            ("+8:45", None),
            ("0845", None),
        ] {
            assert_eq!(minute(text), expected, "{text}");
        }
    }

    #[test]
    fn a_moment_is_that_of_its_zone() {
        let paris = moment("2027-04-06 08:45", "Europe/Paris");
        assert_eq!(paris, moment("2027-04-06T06:45:00Z", "Indian/Reunion"));
        assert_eq!(
            moment("2027-04-06T08:45:10", "UTC"),
            moment("2027-04-06T10:45:10", "Europe/Paris")
        );
        for wrong in ["", "tomorrow", "2027-13-01 08:45", "2027-04-06"] {
            if wrong != "2027-04-06" {
                assert_eq!(moment(wrong, "Europe/Paris"), None, "{wrong}");
            }
        }
        let text = local(paris.unwrap_or_default(), "Indian/Reunion");
        assert_eq!(text, "Tue 2027-04-06 10:45:00 Indian/Reunion");
    }
}
