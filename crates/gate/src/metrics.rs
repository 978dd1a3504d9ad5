//! What a gate counts.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::desk::{Answer, Glance};

/// The way by which somebody came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Way {
    /// The gate is the portal's proxy.
    Proxy,
    /// A proxy asks whether to let a request through.
    Auth,
    /// The same proxy asks what to say to whom it may not let through.
    Wait,
    /// A proxy asks, and passes the answer on.
    Forward,
    /// Envoy asks.
    Envoy,
    /// The page itself.
    Page,
    /// An app.
    Api,
}

impl Way {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Proxy => "proxy",
            Self::Auth => "auth",
            Self::Wait => "wait",
            Self::Forward => "forward",
            Self::Envoy => "envoy",
            Self::Page => "page",
            Self::Api => "api",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    way: &'static str,
    state: &'static str,
}

/// All of it.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    answers: Family<Labels, Counter>,
    waiting: Gauge,
    seated: Gauge,
    slots: Gauge,
    floor: Gauge,
    connected: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("preau_gate");
        let (answers, [waiting, seated, slots, floor, connected]) =
            (Family::default(), std::array::from_fn(|_| Gauge::default()));
        registry.register(
            "answers",
            "Answers, by the way they were asked for and what they said",
            Clone::clone(&answers),
        );
        for (name, help, gauge) in [
            ("waiting", "People who wait here", &waiting),
            ("seated", "People who are in, or were called", &seated),
            ("slots", "Slots that may be used", &slots),
            (
                "floor_slots",
                "Slots that may be used when every node is out of reach",
                &floor,
            ),
            (
                "coordinator_connected",
                "1 where the last report was answered, else 0",
                &connected,
            ),
        ] {
            registry.register(name, help, Gauge::clone(gauge));
        }
        Self {
            registry,
            answers,
            waiting,
            seated,
            slots,
            floor,
            connected,
        }
    }
}

impl Metrics {
    /// Somebody was answered.
    pub fn answered(&self, way: Way, answer: &Answer) {
        let (way, state) = (way.name(), answer.name());
        self.answers.get_or_create(&Labels { way, state }).inc();
    }

    /// All of it in Prometheus' text format.
    pub fn text(&self, glance: Option<&Glance>) -> String {
        if let Some(Glance { status, .. }) = glance {
            let gauge =
                |gauge: &Gauge, value: u64| gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
            gauge(&self.waiting, status.waiting);
            gauge(&self.seated, status.lease.in_use);
            gauge(&self.slots, status.lease.slots);
            gauge(&self.floor, status.floor);
            gauge(&self.connected, status.lease.connected.into());
        }
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}
