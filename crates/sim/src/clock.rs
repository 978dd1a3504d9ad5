//! Times of the day as scenarios write them.

use serde::{Deserialize, Deserializer};

/// A time of the day, such as `"09:00"` or `"09:00:30"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimeOfDay {
    /// Seconds since midnight, under 86,400.
    pub seconds: u32,
}

/// How far a clock is ahead of UTC, such as `"+02:00"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offset {
    /// In seconds; negative where it is behind.
    pub seconds: i32,
}

impl TimeOfDay {
    /// The time this many seconds after midnight; past the day it goes on from its beginning.
    pub fn of(seconds: u32) -> Self {
        Self {
            seconds: seconds % 86_400,
        }
    }

    /// Reads `HH:MM` or `HH:MM:SS`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let hours = two_digits(parts.next()?, 23)?;
        let minutes = two_digits(parts.next()?, 59)?;
        let seconds = parts.next().map_or(Some(0), |s| two_digits(s, 59))?;
        let seconds = hours * 3_600 + minutes * 60 + seconds;
        parts.next().is_none().then_some(Self { seconds })
    }
}

impl std::fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (hours, minutes) = (self.seconds / 3_600, self.seconds / 60 % 60);
        match self.seconds % 60 {
            0 => write!(f, "{hours:02}:{minutes:02}"),
            seconds => write!(f, "{hours:02}:{minutes:02}:{seconds:02}"),
        }
    }
}

impl Offset {
    /// Reads `+HH:MM` or `-HH:MM`, up to 14 hours either way.
    pub fn parse(text: &str) -> Option<Self> {
        let (sign, rest) = match text.split_at_checked(1)? {
            ("+", rest) => (1, rest),
            ("-", rest) => (-1, rest),
            _ => return None,
        };
        let (hours, minutes) = rest.split_once(':')?;
        let seconds = two_digits(hours, 14)? * 3_600 + two_digits(minutes, 59)? * 60;
        (seconds <= 14 * 3_600).then_some(Self {
            seconds: sign * i32::try_from(seconds).ok()?,
        })
    }
}

fn two_digits(text: &str, most: u32) -> Option<u32> {
    let digits = text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit());
    let number = digits.then(|| text.parse().ok()).flatten()?;
    (number <= most).then_some(number)
}

impl<'de> Deserialize<'de> for TimeOfDay {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            serde::de::Error::custom(format!(
                "{text:?} given, expected a time of the day such as \"09:00\" or \"09:00:30\""
            ))
        })
    }
}

impl<'de> Deserialize<'de> for Offset {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            serde::de::Error::custom(format!(
                "{text:?} given, expected how far the clock is ahead of UTC, such as \"+02:00\""
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_and_print() {
        for text in ["00:00", "09:00", "09:00:30", "23:59:59"] {
            assert_eq!(TimeOfDay::parse(text).unwrap().to_string(), text);
        }
        for text in [
            "",
            "9:00",
            "24:00",
            "09:60",
            "09",
            "09:00:00:00",
            "+9:00",
            "09:00 ",
        ] {
            assert_eq!(TimeOfDay::parse(text), None, "{text}");
        }
    }

    #[test]
    fn offsets_read() {
        assert_eq!(Offset::parse("+02:00").unwrap().seconds, 7_200);
        assert_eq!(Offset::parse("-03:30").unwrap().seconds, -12_600);
        for text in ["", "02:00", "+2", "+15:00", "+14:01", "é2:00"] {
            assert_eq!(Offset::parse(text), None, "{text}");
        }
    }
}
