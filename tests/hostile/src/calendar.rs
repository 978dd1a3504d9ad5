//! When calendar entries take effect: any zone, any day, any clock.

use arbitrary::Unstructured;
use node::calendar::{CATCH_UP_S, Rule, zone};

pub fn calendar(data: &[u8]) {
    let _ = feed(&mut Unstructured::new(data));
}

fn feed(data: &mut Unstructured<'_>) -> arbitrary::Result<()> {
    let now: i64 = match data.arbitrary()? {
        // Of this century, in which clocks shift.
        true => i64::from(data.arbitrary::<u32>()?),
        false => data.arbitrary()?,
    };
    let applied: Option<i64> = data.arbitrary()?;
    let rule = match data.arbitrary()? {
        true => Rule::At(data.arbitrary()?),
        false => {
            let (days, minute) = (data.arbitrary()?, data.arbitrary()?);
            let Some(zone) = zone(data.arbitrary()?) else {
                return Ok(());
            };
            Rule::Weekly { days, minute, zone }
        }
    };
    let (last, next) = (rule.last(now), rule.next(now));
    assert!(last.is_none_or(|last| last <= now), "{last:?} at {now}");
    assert!(next.is_none_or(|next| next > now), "{next:?} at {now}");
    if let Some(due) = rule.due(applied, now) {
        assert_eq!(Some(due), last);
        assert!(due > now.saturating_sub(CATCH_UP_S));
        assert!(applied.is_none_or(|applied| due > applied));
    }
    // What comes next has come once it is then.
    if let Some(next) = next {
        assert_eq!(rule.last(next), Some(next), "{rule:?} after {now}");
    }
    Ok(())
}
