//! When the pool or the region opens next, by the pool's calendar: what people who came before it are told.

use std::time::Duration;

use api::v1;
use api::v1::budget_service_client::BudgetServiceClient;
use api::v1::calendar_entry::Action;
use client::Nodes;
use quota::Mode;

/// How long asking for it may take.
const WITHIN: Duration = Duration::from_secs(3);

/// What ends a mode, by the calendar.
fn ends(mode: Mode, action: &Action) -> bool {
    match mode {
        Mode::Closed => matches!(action, Action::Open(_)),
        Mode::Paused => matches!(action, Action::Resume(_)),
        Mode::Open | Mode::Draining | Mode::Frozen => false,
    }
}

/// When a mode ends for a region of a pool, in seconds since 1970, where the calendar says so and a node can be asked.
pub async fn next(nodes: &Nodes, pool: &str, region: &str, mode: Mode) -> Option<i64> {
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
    let calendar = answer.pools.first().map(|pool| pool.calendar.as_slice());
    earliest(calendar.unwrap_or_default(), region, mode)
}

fn earliest(calendar: &[v1::CalendarStatus], region: &str, mode: Mode) -> Option<i64> {
    let applies = calendar.iter().filter(|status| {
        status.entry.as_ref().is_some_and(|entry| {
            let here = entry.region.is_empty() || entry.region == region;
            here && entry
                .action
                .as_ref()
                .is_some_and(|action| ends(mode, action))
        })
    });
    applies.filter_map(|status| status.next_unix_s).min()
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
    fn the_next_opening_is_the_earliest_of_the_pool_or_the_region() {
        let open = || Action::Open(v1::OpenAction {});
        let calendar = [
            entry("normandie", open(), Some(300)),
            entry("", open(), Some(200)),
            entry("bretagne", open(), Some(100)),
            entry("normandie", Action::Resume(v1::ResumeAction {}), Some(50)),
            entry("normandie", open(), None),
        ];
        assert_eq!(earliest(&calendar, "normandie", Mode::Closed), Some(200));
        assert_eq!(earliest(&calendar, "normandie", Mode::Paused), Some(50));
        assert_eq!(earliest(&calendar, "normandie", Mode::Open), None);
        assert_eq!(earliest(&[], "normandie", Mode::Closed), None);
    }
}
