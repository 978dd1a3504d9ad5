//! Where a request comes from, and how much of that is logged.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use axum::http::HeaderValue;
use ipnet::IpNet;

/// Most entries of `X-Forwarded-For` that are looked at, from the last on: no row of trusted proxies is longer.
const MOST_HOPS: usize = 16;
/// Bits of a network.
const V4_NETWORK: u32 = 24;
const V6_NETWORK: u32 = 48;

/// The proxies whose word is taken for where a request comes from.
#[derive(Debug, Clone)]
pub struct Trusted {
    nets: Vec<IpNet>,
}

impl Trusted {
    /// Those of these networks.
    pub fn new(nets: Vec<IpNet>) -> Self {
        Self { nets }
    }

    /// Whether a peer is one of them.
    pub fn contains(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.nets.iter().any(|net| net.contains(&peer))
    }

    /// Where a request comes from, by its peer and its `X-Forwarded-For` headers: the last address there that is no
    /// trusted proxy's. A stranger's header counts for nothing, and what is before something malformed neither.
    pub fn client<'a>(
        &self,
        peer: IpAddr,
        said: impl DoubleEndedIterator<Item = &'a HeaderValue>,
    ) -> IpAddr {
        let mut client = peer.to_canonical();
        // By bytes: what a stranger wrote before it does not spoil what a proxy has added.
        let lines = said.rev().map(HeaderValue::as_bytes);
        let hops = lines.flat_map(|line| line.rsplit(|byte| *byte == b','));
        for hop in hops.take(MOST_HOPS) {
            if !self.contains(client) {
                break;
            }
            match std::str::from_utf8(hop.trim_ascii()).ok().and_then(address) {
                Some(before) => client = before,
                None => break,
            }
        }
        client
    }
}

/// An address as proxies write it: bare, with a port, or in brackets.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.parse::<IpAddr>().ok();
    let address = bare.or_else(|| {
        text.parse::<std::net::SocketAddr>()
            .ok()
            .map(|both| both.ip())
    });
    let brackets = || {
        text.strip_prefix('[')?
            .strip_suffix(']')?
            .parse::<IpAddr>()
            .ok()
    };
    Some(address.or_else(brackets)?.to_canonical())
}

/// What counts as one address: whoever has one of IPv6 at home has the /56 around it.
pub fn home(address: IpAddr) -> IpAddr {
    begin(address, 32, 56)
}

/// The network of an address: its /24, or its /48 of IPv6.
pub fn network(address: IpAddr) -> IpAddr {
    begin(address, V4_NETWORK, V6_NETWORK)
}

/// Its network, which is all of an address that is logged.
pub fn truncated(address: IpAddr) -> impl fmt::Display {
    let network = network(address);
    let bits = if network.is_ipv4() {
        V4_NETWORK
    } else {
        V6_NETWORK
    };
    format!("{network}/{bits}")
}

/// An address, with nothing after so many bits.
fn begin(address: IpAddr, v4_bits: u32, v6_bits: u32) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let others = 32 - v4_bits;
            Ipv4Addr::from_bits(v4.to_bits() >> others << others).into()
        }
        IpAddr::V6(v6) => {
            let others = 128 - v6_bits;
            Ipv6Addr::from_bits(v6.to_bits() >> others << others).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn client(peer: &str, lines: &[&str]) -> String {
        let nets = ["127.0.0.0/8", "10.0.0.0/8", "::1/128"].map(|net| net.parse().unwrap());
        let lines: Vec<_> = lines
            .iter()
            .map(|line| HeaderValue::from_str(line).unwrap())
            .collect();
        let trusted = Trusted::new(nets.to_vec());
        trusted
            .client(peer.parse().unwrap(), lines.iter())
            .to_string()
    }

    #[test]
    fn the_last_stranger_before_trusted_proxies_is_the_client() {
        assert_eq!(client("127.0.0.1", &["192.0.2.7"]), "192.0.2.7");
        assert_eq!(
            client("127.0.0.1", &["198.51.100.1, 192.0.2.7, 10.1.2.3"]),
            "192.0.2.7"
        );
        assert_eq!(
            client("127.0.0.1", &["192.0.2.7", "10.1.2.3, 10.9.9.9"]),
            "192.0.2.7"
        );
        assert_eq!(
            client("::ffff:127.0.0.1", &["::ffff:192.0.2.7"]),
            "192.0.2.7"
        );
        assert_eq!(client("127.0.0.1", &["192.0.2.7:4711"]), "192.0.2.7");
        assert_eq!(client("127.0.0.1", &["[2001:db8::1]:4711"]), "2001:db8::1");
        assert_eq!(client("127.0.0.1", &["[2001:db8::1]"]), "2001:db8::1");
        assert_eq!(client("127.0.0.1", &[]), "127.0.0.1");
    }

    #[test]
    fn what_is_before_something_malformed_counts_for_nothing() {
        assert_eq!(
            client("127.0.0.1", &["192.0.2.7, unknown, 10.1.2.3"]),
            "10.1.2.3"
        );
        assert_eq!(client("127.0.0.1", &["192.0.2.7,"]), "127.0.0.1");
        for odd in [&b"\xff"[..], b"192.0.2.7\xe9", "192.0.2.7, é".as_bytes()] {
            let line = [odd, b", 198.51.100.1, 10.1.2.3"].concat();
            let line = HeaderValue::from_bytes(&line).unwrap();
            let trusted = Trusted::new(vec!["10.0.0.0/8".parse().unwrap()]);
            let found = trusted.client("10.0.0.1".parse().unwrap(), [&line].into_iter());
            assert_eq!(found.to_string(), "198.51.100.1");
        }
        let long = vec!["10.0.0.1"; 1_000].join(",");
        assert_eq!(client("127.0.0.1", &["192.0.2.7", &long]), "10.0.0.1");
    }

    proptest! {
        #[test]
        fn a_strangers_header_never_matters(text in "[0-9a-f.:, \\[\\]]{0,60}") {
            prop_assert_eq!(client("192.0.2.1", &[&text]), "192.0.2.1");
        }
    }

    #[test]
    fn no_whole_address_is_logged() {
        let shown = |text: &str| truncated(text.parse().unwrap()).to_string();
        assert_eq!(shown("192.0.2.77"), "192.0.2.0/24");
        assert_eq!(shown("::ffff:192.0.2.77"), "192.0.2.0/24");
        assert_eq!(shown("2001:db8:1:2:3::4"), "2001:db8:1::/48");
    }
}
