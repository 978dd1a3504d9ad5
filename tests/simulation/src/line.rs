//! Front-ends with a queue: the real one of the client library, with a crowd before them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use client::{Holder, Nodes, Options};
use tokio::sync::broadcast::error::RecvError;

use crate::crowd::{self, Crowd};
use crate::fronts::{FrontEnd, name};

/// Serves the crowd until told to stop, and gives the lease back when nobody is left.
pub async fn run(front: FrontEnd, crowd: Crowd, keys: PathBuf, stop: impl Fn() -> bool) {
    let mut random = fastrand::Rng::with_seed(front.seed);
    let (number, options) = (
        front.number,
        Options {
            dial: Some(front.dial.clone()),
            ..Options::default()
        },
    );
    let queue = loop {
        let queue = Holder::on(Nodes::with(&front.addresses, options.clone()))
            .pool(front.pool)
            .region(crowd::region(number))
            .name(name(number))
            .reserve(1)
            .keys(&keys)
            .silence(Duration::from_secs(crowd::SILENCE_S.into()))
            .front_end();
        match queue.await {
            Ok(queue) => break Arc::new(queue),
            Err(error) => tracing::info!(%error, "no lease"),
        }
        if stop() {
            return;
        }
    };
    let (status, mut events) = (queue.watch(), queue.events());
    let (used, floor) = (crowd.clone(), Arc::downgrade(&queue));
    let watching = tokio::spawn(front.watch(
        status,
        move || floor.upgrade().map_or(0, |queue| queue.status().floor),
        move |until_ns| used.may_use(number, until_ns),
    ));
    let told = crowd.clone();
    let following = tokio::spawn(async move {
        loop {
            match events.recv().await {
                Ok(event) => told.happened(number, event),
                Err(RecvError::Lagged(events)) => unreachable!("{events} events in one step"),
                Err(RecvError::Closed) => return,
            }
        }
    });
    loop {
        tokio::time::sleep(Duration::from_millis(random.u64(20..120))).await;
        let nobody = crowd.turn_to(number, &queue);
        if nobody && stop() {
            break;
        }
    }
    if let Some(queue) = Arc::into_inner(queue) {
        queue.close().await;
    }
    // What was said last is noted before all ends.
    tokio::time::sleep(Duration::from_millis(5)).await;
    watching.abort();
    following.abort();
}
