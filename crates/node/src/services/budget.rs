//! `BudgetService`: pools, regions, holders and leases, for operators.

use api::v1::budget_service_client::BudgetServiceClient as Client;
use api::v1::budget_service_server::BudgetService;
use api::{status, v1};
use prost::Message as _;
use quota::{Change, Command, Configure, LeaseId, Refusal, State, When};
use tonic::{Request, Response, Status};

use super::page::{Place, size};
use super::{ANSWER_BYTES, Context, regions};
use crate::{calendar, due};

/// Most pools on a page.
const MAX_POOLS_PAGE: u32 = 1_024;
/// Most leases on a page.
const MAX_LEASES_PAGE: u32 = 1_000;
/// A page of pools ends once it has come to this many bytes. With its last pool it stays under the 4 MiB
/// that gRPC clients read where nothing else is said, unless that pool has thousands of regions in which many
/// classes wait or many floors are set.
const POOLS_PAGE_BYTES: usize = 1 << 20;

/// The service.
pub(crate) struct Budget(pub Context);

#[tonic::async_trait]
impl BudgetService for Budget {
    async fn configure(
        &self,
        request: Request<v1::ConfigureRequest>,
    ) -> Result<Response<v1::ConfigureResponse>, Status> {
        self.0
            .at_leader(
                request,
                |context, message| async move {
                    let configure = Configure::try_from(message)
                        .and_then(|configure| check_zones(&configure).map(|()| configure))
                        .map_err(|refusal| status::refused(&refusal))?;
                    api::configured(context.propose(Command::Configure(configure)).await?)
                },
                |channel, request| async { Client::new(channel).configure(request).await },
            )
            .await
    }

    async fn list_pools(
        &self,
        request: Request<v1::ListPoolsRequest>,
    ) -> Result<Response<v1::ListPoolsResponse>, Status> {
        if request.get_ref().stale {
            let _call = self.0.gate.enter(request.metadata())?;
            return read(&self.0, pools, request.get_ref()).map(Response::new);
        }
        self.0
            .at_leader(
                request,
                |context, message| async move {
                    context.barrier().await?;
                    read(&context, pools, &message)
                },
                |channel, request| async {
                    let client = Client::new(channel);
                    let mut client = client.max_decoding_message_size(ANSWER_BYTES);
                    client.list_pools(request).await
                },
            )
            .await
    }

    async fn list_leases(
        &self,
        request: Request<v1::ListLeasesRequest>,
    ) -> Result<Response<v1::ListLeasesResponse>, Status> {
        if request.get_ref().stale {
            let _call = self.0.gate.enter(request.metadata())?;
            return read(&self.0, leases, request.get_ref()).map(Response::new);
        }
        self.0
            .at_leader(
                request,
                |context, message| async move {
                    context.barrier().await?;
                    read(&context, leases, &message)
                },
                |channel, request| async { Client::new(channel).list_leases(request).await },
            )
            .await
    }

    async fn remove_holder(
        &self,
        request: Request<v1::RemoveHolderRequest>,
    ) -> Result<Response<v1::RemoveHolderResponse>, Status> {
        self.0
            .at_leader(
                request,
                |context, message| async move {
                    let command = Command::RemoveHolder(message.into());
                    api::holder_removed(context.propose(command).await?)
                },
                |channel, request| async { Client::new(channel).remove_holder(request).await },
            )
            .await
    }
}

/// The rules know no time zones; those of a node are built in.
fn check_zones(configure: &Configure) -> Result<(), Refusal> {
    let check = |field: String, zone: &str| match calendar::zone(zone) {
        Some(_) => Ok(()),
        None => {
            let expected = "a time zone by the IANA's name, such as Europe/Paris";
            Err(status::invalid(&field, format!("{zone:?}"), expected))
        }
    };
    for (i, change) in configure.changes.iter().enumerate() {
        match change {
            Change::SetZone { zone, .. } if !zone.is_empty() => {
                check(format!("changes[{i}].set_zone.zone"), zone)?;
            }
            Change::SetCalendar { entries, .. } => {
                for (n, entry) in entries.iter().enumerate() {
                    if let When::Weekly {
                        zone: Some(zone), ..
                    } = &entry.when
                    {
                        let path = format!("changes[{i}].set_calendar.entries[{n}].weekly.zone");
                        check(path, zone)?;
                    }
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Reads what this node has applied.
fn read<M, A>(
    context: &Context,
    list: fn(&State, &M) -> Result<A, Refusal>,
    message: &M,
) -> Result<A, Status> {
    context
        .core
        .with_state(|state| list(state, message))
        .map_err(|refusal| status::refused(&refusal))
}

fn pools(state: &State, request: &v1::ListPoolsRequest) -> Result<v1::ListPoolsResponse, Refusal> {
    let size = size(request.page_size, MAX_POOLS_PAGE)?;
    let from = Place::of_pools(&request.page_token)?;
    let mut answer = v1::ListPoolsResponse {
        revision: state.revision(),
        cluster_time_ms: state.now_ms(),
        ..v1::ListPoolsResponse::default()
    };
    let mut names = pool_names(state, &request.pool)?;
    if let Some(from) = from {
        names.retain(|name| *name > from.pool);
    }
    let (mut bytes, now_s) = (0, due::wall_s());
    for name in names {
        if answer.pools.len() == size || bytes > POOLS_PAGE_BYTES {
            let last = answer.pools.last().and_then(|pool| pool.status.as_ref());
            let last = last.map(|status| status.name.clone()).unwrap_or_default();
            answer.next_page_token = Place::pool(last).token();
            break;
        }
        let pool = v1::Pool {
            status: state.pool(&name).map(Into::into),
            regions: regions(state, &name),
            calendar: state
                .calendar(&name)
                .iter()
                .map(|entry| due::status(entry, now_s))
                .collect(),
        };
        bytes += pool.encoded_len();
        answer.pools.push(pool);
    }
    Ok(answer)
}

fn leases(
    state: &State,
    request: &v1::ListLeasesRequest,
) -> Result<v1::ListLeasesResponse, Refusal> {
    let size = size(request.page_size, MAX_LEASES_PAGE)?;
    let from = Place::of_leases(&request.page_token)?;
    let said = |name: &'_ str| (!name.is_empty()).then(|| name.to_owned());
    let (region, holder) = (said(&request.region), said(&request.holder));
    let mut names = pool_names(state, &request.pool)?;
    if let (Some(region), [pool]) = (&region, names.as_slice())
        && !request.pool.is_empty()
        && !state
            .regions(pool)
            .iter()
            .any(|known| known.name == *region)
    {
        let (pool, region) = (pool.clone(), region.clone());
        return Err(Refusal::NoSuchRegion { pool, region });
    }
    if let Some(from) = &from {
        names.retain(|name| *name >= from.pool);
    }
    let mut found = Vec::new();
    for name in names {
        let after = from
            .as_ref()
            .filter(|from| from.pool == name)
            .map(|from| (from.holder.as_str(), LeaseId(from.lease)));
        // One more than fits says whether there is a page after this one.
        let more = size + 1 - found.len();
        found.extend(state.leases(&name, region.as_deref(), holder.as_deref(), after, more));
        if found.len() > size {
            break;
        }
    }
    let next = found.len() > size;
    found.truncate(size);
    let last = found
        .last()
        .filter(|_| next)
        .map(|last| Place::lease(last.pool.clone(), last.holder.clone(), last.lease.0).token());
    Ok(v1::ListLeasesResponse {
        leases: found
            .into_iter()
            .map(|lease| {
                let report = state.report_of(lease.lease);
                api::lease(lease, report)
            })
            .collect(),
        next_page_token: last.unwrap_or_default(),
        cluster_time_ms: state.now_ms(),
    })
}

/// One pool, which must be there, or all, by name.
fn pool_names(state: &State, pool: &str) -> Result<Vec<String>, Refusal> {
    if pool.is_empty() {
        return Ok(state.pools().map(|pool| pool.name).collect());
    }
    match state.pool(pool) {
        Some(pool) => Ok(vec![pool.name]),
        None => Err(Refusal::NoSuchPool { pool: pool.into() }),
    }
}

#[cfg(test)]
mod tests {
    use quota::{Batch, Change, SetPool, SetRegion, Take};

    use super::*;

    /// Three pools with two regions each, and five holders in every region of the second.
    fn state() -> State {
        let mut changes = Vec::new();
        for pool in ["a", "b", "c"] {
            changes.push(Change::SetPool(SetPool {
                name: pool.into(),
                capacity: 1_000,
                ttl_ms: None,
                drift_ppm: None,
            }));
            for region in ["north", "south"] {
                changes.push(Change::SetRegion(SetRegion {
                    pool: pool.into(),
                    name: region.into(),
                    nominal: 0,
                    ceiling: None,
                    weight: 1,
                }));
            }
        }
        let mut commands = vec![Command::Configure(Configure {
            request_id: "r".into(),
            expected_revision: None,
            changes,
        })];
        for (pool, region, holder) in [("b", "north", 0), ("b", "south", 5), ("c", "south", 0)]
            .iter()
            .flat_map(|&(pool, region, from)| (from..from + 5).map(move |i| (pool, region, i)))
        {
            commands.push(Command::Take(Take {
                pool: pool.into(),
                region: region.into(),
                holder: format!("h{holder}").into(),
                epoch: 1,
                seq: 1,
                wanted: 1,
            }));
        }
        let mut state = State::default();
        let outcomes = state.apply(&Batch {
            time_ms: 1,
            commands,
        });
        assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
        state
    }

    fn all_leases(state: &State, request: v1::ListLeasesRequest) -> Vec<(String, String)> {
        let mut request = request;
        let mut all = Vec::new();
        loop {
            let page = leases(state, &request).expect("a page");
            assert!(page.leases.len() <= request.page_size as usize);
            all.extend(
                page.leases
                    .into_iter()
                    .map(|lease| (lease.pool, lease.holder)),
            );
            if page.next_page_token.is_empty() {
                return all;
            }
            request.page_token = page.next_page_token;
        }
    }

    #[test]
    fn pages_of_leases_have_each_lease_once_and_in_order() {
        let state = state();
        for page_size in [1, 2, 3, 7, 15, 1_000] {
            let request = v1::ListLeasesRequest {
                page_size,
                ..v1::ListLeasesRequest::default()
            };
            let all = all_leases(&state, request.clone());
            assert_eq!(all.len(), 15);
            assert!(all.is_sorted());
            let south = v1::ListLeasesRequest {
                pool: "b".into(),
                region: "south".into(),
                ..request
            };
            assert_eq!(all_leases(&state, south).len(), 5);
        }
        let one = v1::ListLeasesRequest {
            holder: "h3".into(),
            page_size: 1,
            ..v1::ListLeasesRequest::default()
        };
        let expected = [("b", "h3"), ("c", "h3")].map(|(p, h)| (p.to_owned(), h.to_owned()));
        assert_eq!(all_leases(&state, one), expected);
    }

    #[test]
    fn pages_of_pools_have_each_pool_once() {
        let state = state();
        let mut request = v1::ListPoolsRequest {
            page_size: 2,
            ..v1::ListPoolsRequest::default()
        };
        let first = pools(&state, &request).expect("a page");
        assert_eq!(first.pools.len(), 2);
        request.page_token = first.next_page_token;
        let second = pools(&state, &request).expect("a page");
        assert_eq!(second.pools.len(), 1);
        assert_eq!(second.pools[0].regions.len(), 2);
        assert_eq!(second.next_page_token, "");
    }

    #[test]
    fn what_is_not_there_is_named() {
        let state = state();
        let mut request = v1::ListLeasesRequest {
            pool: "x".into(),
            ..v1::ListLeasesRequest::default()
        };
        let refusal = leases(&state, &request).expect_err("no such pool");
        assert_eq!(refusal, Refusal::NoSuchPool { pool: "x".into() });
        (request.pool, request.region) = ("b".into(), "y".into());
        let refusal = leases(&state, &request).expect_err("no such region");
        assert_eq!(
            refusal,
            Refusal::NoSuchRegion {
                pool: "b".into(),
                region: "y".into()
            }
        );
    }
}
