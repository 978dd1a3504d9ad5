//! Where a list goes on: an opaque token that names the last item of the page before.

use api::status::invalid;
use prost::Message as _;
use quota::Refusal;

/// The last item that was read.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Place {
    /// The list that the token is for.
    #[prost(uint32, tag = "1")]
    list: u32,
    /// The pool's name.
    #[prost(string, tag = "2")]
    pub pool: String,
    /// The holder's name; empty in a list of pools.
    #[prost(string, tag = "3")]
    pub holder: String,
    /// The lease; 0 in a list of pools.
    #[prost(uint64, tag = "4")]
    pub lease: u64,
}

const POOLS: u32 = 1;
const LEASES: u32 = 2;

impl Place {
    pub fn pool(pool: String) -> Self {
        Self {
            list: POOLS,
            pool,
            ..Self::default()
        }
    }

    pub fn lease(pool: String, holder: String, lease: u64) -> Self {
        Self {
            list: LEASES,
            pool,
            holder,
            lease,
        }
    }

    /// The token, in hexadecimal digits.
    pub fn token(&self) -> String {
        let bytes = self.encode_to_vec();
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Where a list of pools goes on.
    pub fn of_pools(token: &str) -> Result<Option<Self>, Refusal> {
        Self::read(token, POOLS)
    }

    /// Where a list of leases goes on.
    pub fn of_leases(token: &str) -> Result<Option<Self>, Refusal> {
        Self::read(token, LEASES)
    }

    fn read(token: &str, list: u32) -> Result<Option<Self>, Refusal> {
        /// Longer than any that was given out.
        const MOST_BYTES: usize = 1_024;
        if token.is_empty() {
            return Ok(None);
        }
        (token.len() <= MOST_BYTES)
            .then(|| bytes(token))
            .flatten()
            .and_then(|bytes| Self::decode(bytes.as_slice()).ok())
            .filter(|place| place.list == list)
            .map(Some)
            .ok_or_else(|| {
                let shown: String = token.chars().take(64).collect();
                let expected = "the next_page_token of an answer to the same request, or nothing";
                invalid("page_token", format!("{shown:?}"), expected)
            })
    }
}

fn bytes(digits: &str) -> Option<Vec<u8>> {
    let digits: Vec<u32> = digits
        .chars()
        .map(|c| c.to_digit(16))
        .collect::<Option<_>>()?;
    let (pairs, []) = digits.as_chunks::<2>() else {
        return None;
    };
    pairs
        .iter()
        .map(|&[high, low]| u8::try_from(high << 4 | low).ok())
        .collect()
}

/// How many items a page may have: `given`, or `most` where it is 0.
pub(super) fn size(given: u32, most: u32) -> Result<usize, Refusal> {
    match given {
        0 => Ok(most as usize),
        size if size <= most => Ok(size as usize),
        _ => Err(invalid("page_size", given, format!("0 to {most}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_leads_back_to_its_place_in_its_list_only() {
        let place = Place::lease("ent".into(), "é".into(), u64::MAX);
        let token = place.token();
        assert_eq!(Place::of_leases(&token), Ok(Some(place)));
        assert_eq!(Place::of_leases(""), Ok(None));
        for bad in ["x", "0", "zz", "00ff00", &"ab".repeat(600)] {
            let refusal = Place::of_leases(bad).expect_err(bad).to_string();
            assert!(refusal.starts_with("page_token: \""), "{refusal}");
        }
        assert!(
            Place::of_pools(&token).is_err(),
            "a token of the other list"
        );
    }

    #[test]
    fn page_sizes_are_bounded() {
        assert_eq!(size(0, 10), Ok(10));
        assert_eq!(size(10, 10), Ok(10));
        let refusal = size(11, 10).expect_err("too many").to_string();
        assert_eq!(refusal, "page_size: 11 given, expected 0 to 10");
    }
}
