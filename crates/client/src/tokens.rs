//! Tickets and seats as signed text, which any front-end of the region honours.
//!
//! A token is unpadded base64url of these bytes, numbers with the highest byte first:
//! kind 1, key 1, pool 4, region 4, issuer 4, class 1, second of arrival 4, second of issue 4, id 8;
//! a seat goes on with its start 4 and its limit 4 (0 for none); and then an HMAC-SHA-256 of all of it, 32.
//! Pool and region are the first bytes of the SHA-256 of their names, and the issuer is
//! [`quota::issuer`]'s. That makes 84 characters for a ticket and 95 for a seat.
//!
//! An invitation is kind 1, key 1, pool 4, region 4, second of issue 4, id 8, and the HMAC: 72 characters. It costs
//! its front-end no memory, and only who comes back with it takes a place: what a SYN cookie is to a connection.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::{digest, hmac};

use crate::keys::Keys;

/// No token is longer.
pub const MAX_TOKEN_CHARS: usize = 127;
/// A token is good for so long after it was issued. A place that is held for longer is held on by the
/// tokens that polling gives; claims are remembered for as long as this.
pub const TOKEN_LIFE_S: u32 = quota::limits::CLAIM_REMEMBER_S;
/// Front-ends' ideas of cluster time may differ by so much.
pub(crate) const AHEAD_S: u32 = 600;

/// So long an invitation is good.
pub const INVITATION_LIFE_S: u32 = 120;

const TAG_BYTES: usize = 32;
const INVITATION_BYTES: usize = 22;
const TICKET_BYTES: usize = 31;
const SEAT_BYTES: usize = TICKET_BYTES + 8;
/// The first byte: version 1 in the upper half, and what it is in the lower one.
const TICKET: u8 = 0x11;
const SEAT: u8 = 0x12;
const INVITATION: u8 = 0x13;

/// What kind of token a text is, by its beginning alone: whether it is good is another question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A place in the queue.
    Ticket,
    /// A session.
    Seat,
    /// To come back with.
    Invitation,
}

impl Kind {
    /// The kind of a text; `None` where it can be no token.
    pub fn of(text: &str) -> Option<Self> {
        let first = URL_SAFE_NO_PAD.decode(text.get(..4)?).ok()?;
        match *first.first()? {
            TICKET => Some(Self::Ticket),
            SEAT => Some(Self::Seat),
            INVITATION => Some(Self::Invitation),
            _ => None,
        }
    }
}

/// What a token says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token {
    /// The front-end that issued it, as [`quota::issuer`] tells it.
    pub issuer: u32,
    /// The class, by its position in the pool's rules.
    pub class: u8,
    /// The second of cluster time in which the user arrived.
    pub second: u32,
    /// The second in which it was issued.
    pub issued_s: u32,
    /// Drawn on arrival; a seat has that of its ticket.
    pub id: u64,
    /// What a seat says beside that; `None` for a ticket.
    pub seat: Option<SeatTerm>,
}

/// When a session began, and how long it may last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeatTerm {
    /// The second of cluster time in which it began.
    pub start_s: u32,
    /// Seconds; `None` without a limit.
    pub limit_s: Option<u32>,
}

/// Why a token is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenError {
    /// It is no token at all.
    Malformed,
    /// The key with this id is not known here.
    UnknownKey(u8),
    /// The signature is not right: somebody made it up or changed it.
    Forged,
    /// Its time is over.
    Expired,
    /// It is for another pool.
    ForeignPool,
    /// It is for another region.
    ForeignRegion,
    /// It was used up: seated and left, or dropped after a long silence.
    AlreadyUsed,
    /// It was issued in the future.
    NotYet,
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str("the token is no ticket and no seat; queue again"),
            Self::UnknownKey(id) => write!(
                f,
                "the token is signed with key {id}, which is not in this front-end's key file"
            ),
            Self::Forged => f.write_str("the token's signature is not right; queue again"),
            Self::Expired => f.write_str("the token has expired; queue again"),
            Self::ForeignPool => f.write_str("the token is for another pool; show it there"),
            Self::ForeignRegion => f.write_str("the token is for another region; show it there"),
            Self::AlreadyUsed => f.write_str("the token was used up; queue again"),
            Self::NotYet => f.write_str("the token was issued in the future; try again later"),
        }
    }
}

impl std::error::Error for TokenError {}

/// The pool and region that tokens are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scope {
    pool: [u8; 4],
    region: [u8; 4],
}

impl Scope {
    /// That of a pool's region.
    pub fn new(pool: &str, region: &str) -> Self {
        Self {
            pool: fingerprint(pool),
            region: fingerprint(region),
        }
    }

    /// Signs a token.
    pub fn sign(&self, keys: &Keys, token: &Token) -> String {
        let (id, key) = keys.signing();
        let mut bytes = Vec::with_capacity(SEAT_BYTES + TAG_BYTES);
        bytes.push(if token.seat.is_some() { SEAT } else { TICKET });
        bytes.push(id);
        bytes.extend(self.pool);
        bytes.extend(self.region);
        bytes.extend(token.issuer.to_be_bytes());
        bytes.push(token.class);
        bytes.extend(token.second.to_be_bytes());
        bytes.extend(token.issued_s.to_be_bytes());
        bytes.extend(token.id.to_be_bytes());
        if let Some(seat) = token.seat {
            bytes.extend(seat.start_s.to_be_bytes());
            bytes.extend(seat.limit_s.unwrap_or(0).to_be_bytes());
        }
        let tag = hmac::sign(key, &bytes);
        bytes.extend(tag.as_ref());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// What a token says, where it is good at the second `now_s` of cluster time.
    ///
    /// # Errors
    /// Every [`TokenError`] but [`TokenError::AlreadyUsed`], which the queue knows.
    pub fn read(&self, keys: &Keys, text: &str, now_s: u32) -> Result<Token, TokenError> {
        let token = self.read_late(keys, text, now_s)?;
        in_time(token.issued_s, token.expires_s(), now_s)?;
        Ok(token)
    }

    /// As [`Scope::read`]; the end that a seat says may have passed, for it may have been put off since.
    pub(crate) fn read_late(
        &self,
        keys: &Keys,
        text: &str,
        now_s: u32,
    ) -> Result<Token, TokenError> {
        let bytes = decode(text)?;
        let length = match bytes.first() {
            Some(&TICKET) => TICKET_BYTES,
            Some(&SEAT) => SEAT_BYTES,
            _ => return Err(TokenError::Malformed),
        };
        let said = self.verify(keys, &bytes, length)?;
        let token = Token {
            issuer: number(said, 10),
            class: said[14],
            second: number(said, 15),
            issued_s: number(said, 19),
            id: long(said, 23),
            seat: (length == SEAT_BYTES).then(|| SeatTerm {
                start_s: number(said, 31),
                limit_s: Some(number(said, 35)).filter(|&limit| limit > 0),
            }),
        };
        let expires_s = token.issued_s.saturating_add(TOKEN_LIFE_S);
        in_time(token.issued_s, expires_s, now_s)?;
        Ok(token)
    }

    /// Signs an invitation with an id that nobody else draws.
    pub fn invite(&self, keys: &Keys, id: u64, issued_s: u32) -> String {
        let (key_id, key) = keys.signing();
        let mut bytes = Vec::with_capacity(INVITATION_BYTES + TAG_BYTES);
        bytes.extend([INVITATION, key_id]);
        bytes.extend(self.pool);
        bytes.extend(self.region);
        bytes.extend(issued_s.to_be_bytes());
        bytes.extend(id.to_be_bytes());
        let tag = hmac::sign(key, &bytes);
        bytes.extend(tag.as_ref());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The id of an invitation, where it is good at the second `now_s` of cluster time.
    ///
    /// # Errors
    /// As [`Scope::read`].
    pub fn invited(&self, keys: &Keys, text: &str, now_s: u32) -> Result<u64, TokenError> {
        let bytes = decode(text)?;
        if bytes.first() != Some(&INVITATION) {
            return Err(TokenError::Malformed);
        }
        let said = self.verify(keys, &bytes, INVITATION_BYTES)?;
        let issued_s = number(said, 10);
        let expires_s = issued_s.saturating_add(INVITATION_LIFE_S);
        in_time(issued_s, expires_s, now_s)?;
        Ok(long(said, 14))
    }

    /// What a token of that many bytes says, where its signature is right and it is for this pool and region.
    fn verify<'a>(
        &self,
        keys: &Keys,
        bytes: &'a [u8],
        length: usize,
    ) -> Result<&'a [u8], TokenError> {
        if bytes.len() != length + TAG_BYTES {
            return Err(TokenError::Malformed);
        }
        let (said, tag) = bytes.split_at(length);
        let key = keys.get(said[1]).ok_or(TokenError::UnknownKey(said[1]))?;
        hmac::verify(key, said, tag).map_err(|_| TokenError::Forged)?;
        if said[2..6] != self.pool {
            return Err(TokenError::ForeignPool);
        }
        if said[6..10] != self.region {
            return Err(TokenError::ForeignRegion);
        }
        Ok(said)
    }
}

fn decode(text: &str) -> Result<Vec<u8>, TokenError> {
    if text.len() > MAX_TOKEN_CHARS {
        return Err(TokenError::Malformed);
    }
    URL_SAFE_NO_PAD
        .decode(text)
        .map_err(|_| TokenError::Malformed)
}

fn in_time(issued_s: u32, expires_s: u32, now_s: u32) -> Result<(), TokenError> {
    if issued_s > now_s.saturating_add(AHEAD_S) {
        return Err(TokenError::NotYet);
    }
    if now_s >= expires_s {
        return Err(TokenError::Expired);
    }
    Ok(())
}

impl Token {
    /// The second from which on it is good no more.
    pub fn expires_s(&self) -> u32 {
        let life = self.issued_s.saturating_add(TOKEN_LIFE_S);
        let end = |seat: SeatTerm| Some(seat.start_s.saturating_add(seat.limit_s?));
        self.seat.and_then(end).map_or(life, |end| end.min(life))
    }
}

fn number(bytes: &[u8], at: usize) -> u32 {
    bytes[at..at + 4]
        .iter()
        .fold(0, |number, &byte| number << 8 | u32::from(byte))
}

fn long(bytes: &[u8], at: usize) -> u64 {
    u64::from(number(bytes, at)) << 32 | u64::from(number(bytes, at + 4))
}

fn fingerprint(name: &str) -> [u8; 4] {
    let hash = digest::digest(&digest::SHA256, name.as_bytes());
    let mut first = [0; 4];
    first.copy_from_slice(&hash.as_ref()[..4]);
    first
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn keys(ids: &[u8]) -> Keys {
        let lines = ids.iter().map(|&id| {
            let key = base64::engine::general_purpose::STANDARD.encode([id; 32]);
            format!("{id} = {key}\n")
        });
        Keys::parse(&lines.collect::<String>()).unwrap()
    }

    fn scope() -> Scope {
        Scope::new("ent", "normandie")
    }

    fn ticket() -> Token {
        Token {
            issuer: 0xdead_beef,
            class: 3,
            second: 1_000,
            issued_s: 1_010,
            id: 0x0123_4567_89ab_cdef,
            seat: None,
        }
    }

    fn seat(limit_s: Option<u32>) -> Token {
        Token {
            seat: Some(SeatTerm {
                start_s: 1_005,
                limit_s,
            }),
            ..ticket()
        }
    }

    #[test]
    fn an_invitation_is_good_for_two_minutes_and_is_no_token() {
        let text = scope().invite(&keys(&[1]), 77, 1_000);
        assert_eq!(text.len(), 72);
        assert_eq!(Kind::of(&text), Some(Kind::Invitation));
        assert_eq!(scope().invited(&keys(&[2, 1]), &text, 1_000), Ok(77));
        let late = 1_000 + INVITATION_LIFE_S;
        assert_eq!(scope().invited(&keys(&[1]), &text, late - 1), Ok(77));
        let refused = |scope: Scope, text: &str, now_s| scope.invited(&keys(&[1]), text, now_s);
        let expired = Err(TokenError::Expired);
        assert_eq!(refused(scope(), &text, late), expired);
        let other = Scope::new("ent", "bretagne");
        assert_eq!(refused(other, &text, 1_000), Err(TokenError::ForeignRegion));
        assert_eq!(refused(scope(), &text, 300), Err(TokenError::NotYet));
        let malformed = Err(TokenError::Malformed);
        assert_eq!(scope().read(&keys(&[1]), &text, 1_000), malformed);
        let ticket = scope().sign(&keys(&[1]), &ticket());
        assert_eq!(refused(scope(), &ticket, 1_010), Err(TokenError::Malformed));
    }

    #[test]
    fn a_text_begins_with_its_kind() {
        let text = |token: &Token| scope().sign(&keys(&[1]), token);
        assert_eq!(Kind::of(&text(&ticket())), Some(Kind::Ticket));
        assert_eq!(Kind::of(&text(&seat(None))), Some(Kind::Seat));
        for none in ["", "E", "é", "AAAA", "=", "....."] {
            assert_eq!(Kind::of(none), None, "{none}");
        }
    }

    #[test]
    fn tokens_are_short_text_that_a_url_can_carry() {
        for (token, chars) in [(ticket(), 84), (seat(Some(1)), 95)] {
            let text = scope().sign(&keys(&[1]), &token);
            assert_eq!(text.len(), chars);
            assert!(text.len() < 128);
            assert!(
                text.bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            );
        }
    }

    #[test]
    fn each_refusal_has_its_own_reason() {
        let text = scope().sign(&keys(&[1]), &ticket());
        let read = |scope: Scope, keys: &Keys, now_s| scope.read(keys, &text, now_s);
        let here = keys(&[2, 1]);
        assert_eq!(
            read(scope(), &here, 1_010),
            Ok(ticket()),
            "any key verifies"
        );
        assert_eq!(
            read(scope(), &keys(&[2]), 1_010),
            Err(TokenError::UnknownKey(1))
        );
        let other = Keys::parse(&format!("1 = {}", "AAAA".repeat(10) + "AAA=")).unwrap();
        assert_eq!(read(scope(), &other, 1_010), Err(TokenError::Forged));
        let pool = Scope::new("pronote", "normandie");
        assert_eq!(read(pool, &here, 1_010), Err(TokenError::ForeignPool));
        let region = Scope::new("ent", "bretagne");
        assert_eq!(read(region, &here, 1_010), Err(TokenError::ForeignRegion));
        assert_eq!(read(scope(), &here, 409), Err(TokenError::NotYet));
        assert!(read(scope(), &here, 410).is_ok());
        assert!(read(scope(), &here, 1_009 + TOKEN_LIFE_S).is_ok());
        assert_eq!(
            read(scope(), &here, 1_010 + TOKEN_LIFE_S),
            Err(TokenError::Expired)
        );
        for text in [
            "",
            "x",
            "!!",
            &text[1..],
            &(text.clone() + "A"),
            &"A".repeat(5_000),
        ] {
            assert_eq!(
                scope().read(&here, text, 1_010),
                Err(TokenError::Malformed),
                "{text}"
            );
        }
    }

    #[test]
    fn a_seat_ends_with_its_session() {
        let keys = keys(&[1]);
        let text = scope().sign(&keys, &seat(Some(100)));
        assert_eq!(scope().read(&keys, &text, 1_104), Ok(seat(Some(100))));
        assert_eq!(scope().read(&keys, &text, 1_105), Err(TokenError::Expired));
        let text = scope().sign(&keys, &seat(None));
        assert_eq!(scope().read(&keys, &text, 10_000), Ok(seat(None)));
    }

    #[test]
    fn no_altered_bit_is_accepted() {
        let keys = keys(&[1, 2]);
        for token in [ticket(), seat(Some(600)), seat(None)] {
            let text = scope().sign(&keys, &token);
            let bytes = URL_SAFE_NO_PAD.decode(&text).unwrap();
            for bit in 0..bytes.len() * 8 {
                let mut altered = bytes.clone();
                altered[bit / 8] ^= 1 << (bit % 8);
                let altered = URL_SAFE_NO_PAD.encode(altered);
                assert!(scope().read(&keys, &altered, 1_010).is_err(), "bit {bit}");
            }
            for bit in 0..text.len() * 8 {
                let mut altered = text.clone().into_bytes();
                altered[bit / 8] ^= 1 << (bit % 8);
                if let Ok(altered) = String::from_utf8(altered) {
                    assert!(
                        scope().read(&keys, &altered, 1_010).is_err(),
                        "bit {bit} of text"
                    );
                }
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_signed_reads_back(
            issuer: u32, class: u8, second: u32, id: u64, issued_s in 0..u32::MAX - TOKEN_LIFE_S,
            term in proptest::option::of((0..1_000_000_u32, 1..1_000_000_u32)),
        ) {
            let seat = term.map(|(before, limit)| SeatTerm {
                start_s: issued_s.saturating_sub(before),
                limit_s: Some(limit.saturating_add(before)),
            });
            let token = Token { issuer, class, second, issued_s, id, seat };
            let keys = keys(&[5]);
            let text = scope().sign(&keys, &token);
            prop_assert_eq!(scope().read(&keys, &text, issued_s), Ok(token));
        }

        #[test]
        fn made_up_bytes_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..96), kind: bool) {
            let mut bytes = bytes;
            if let [first, key, ..] = &mut bytes[..] {
                (*first, *key) = (if kind { TICKET } else { SEAT }, 5);
            }
            let text = URL_SAFE_NO_PAD.encode(bytes);
            prop_assert!(scope().read(&keys(&[5]), &text, 1_000).is_err());
        }

        #[test]
        fn made_up_text_is_refused(text in "\\PC{0,130}") {
            prop_assert!(scope().read(&keys(&[5]), &text, 1_000).is_err());
        }
    }
}
