//! When the pool or the region opens next, by the pool's calendar: what people who came before it are told.

use std::time::Duration;

use api::v1;
use api::v1::budget_service_client::BudgetServiceClient;
use api::v1::calendar_entry::Action;
use client::Nodes;
/// How long asking for it may take.
const WITHIN: Duration = Duration::from_secs(3);

/// What ends a mode, by the calendar.
fn ends(mode: v1::Mode, action: &Action) -> bool {
    match mode {
        v1::Mode::Closed => matches!(action, Action::Open(_)),
        v1::Mode::Paused => matches!(action, Action::Resume(_)),
        _ => false,
    }
}

/// When people are let in again, in seconds since 1970, where the calendar says so. `None` where no node says
/// anything: then what was said before is as good as ever.
pub async fn next(nodes: &Nodes, pool: &str, region: &str) -> Option<Option<i64>> {
    let request = v1::ListPoolsRequest {
        pool: pool.to_owned(),
        stale: true,
        ..v1::ListPoolsRequest::default()
    };
    let answer = nodes.call(WITHIN, |channel| {
        let request = request.clone();
        async move { BudgetServiceClient::new(channel).list_pools(request).await }
    });
    let answer = answer.await.ok()?.into_inner();
    let pool = answer.pools.first()?;
    let here = pool.regions.iter().find(|status| status.name == region);
    let gates = [
        ("", pool.status.as_ref().map(v1::PoolStatus::mode)),
        (region, here.map(v1::RegionStatus::mode)),
    ];
    Some(latest(
        &pool.calendar,
        gates.map(|(region, mode)| (region, mode.unwrap_or_default())),
    ))
}

/// When the last of those opens that keep people out: the pool, which is no region's, and the region. `None` where
/// the calendar does not say it of each.
fn latest(calendar: &[v1::CalendarStatus], gates: [(&str, v1::Mode); 2]) -> Option<i64> {
    let lets_in = |mode| {
        matches!(
            mode,
            v1::Mode::Unspecified | v1::Mode::Open | v1::Mode::Frozen
        )
    };
    let shut = gates.into_iter().filter(|(_, mode)| !lets_in(*mode));
    let opens = shut.map(|(region, mode)| {
        let applies = calendar.iter().filter(|status| {
            status.entry.as_ref().is_some_and(|entry| {
                let action = entry.action.as_ref();
                entry.region == region && action.is_some_and(|action| ends(mode, action))
            })
        });
        applies.filter_map(|status| status.next_unix_s).min()
    });
    opens.collect::<Option<Vec<i64>>>()?.into_iter().max()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(region: &str, action: Action, next_unix_s: Option<i64>) -> v1::CalendarStatus {
        v1::CalendarStatus {
            entry: Some(v1::CalendarEntry {
                region: region.into(),
                action: Some(action),
                ..v1::CalendarEntry::default()
            }),
            next_unix_s,
            ..v1::CalendarStatus::default()
        }
    }

    #[test]
    fn people_are_let_in_when_all_that_is_shut_is_open() {
        use v1::Mode::{Closed, Draining, Frozen, Open, Paused};
        let open = || Action::Open(v1::OpenAction {});
        let resume = || Action::Resume(v1::ResumeAction {});
        let calendar = [
            entry("normandie", open(), Some(300)),
            entry("normandie", open(), Some(500)),
            entry("", open(), Some(200)),
            entry("bretagne", open(), Some(100)),
            entry("normandie", resume(), Some(50)),
            entry("", open(), None),
        ];
        let told = |pool, region| latest(&calendar, [("", pool), ("normandie", region)]);
        assert_eq!(told(Closed, Open), Some(200));
        assert_eq!(told(Open, Closed), Some(300));
        assert_eq!(told(Closed, Closed), Some(300));
        assert_eq!(told(Closed, Paused), Some(200));
        assert_eq!(told(Open, Paused), Some(50));
        // Nothing in the calendar ends one of the two.
        assert_eq!(told(Paused, Closed), None);
        assert_eq!(told(Closed, Draining), None);
        assert_eq!(told(Closed, Frozen), Some(200));
        assert_eq!(told(Open, Open), None);
        assert_eq!(latest(&[], [("", Closed), ("normandie", Open)]), None);
    }
}
