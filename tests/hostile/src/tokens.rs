//! Tokens: text that comes back from a browser.

use std::sync::OnceLock;

use arbitrary::Unstructured;
use client::keys::Keys;
use client::tokens::{INVITATION_LIFE_S, Scope, SeatTerm, Token, TokenError};

use crate::{said, text};

/// Keys 0 and 7, of no secret bytes.
fn keys() -> &'static Keys {
    static KEYS: OnceLock<Keys> = OnceLock::new();
    KEYS.get_or_init(|| {
        let zeroes = "A".repeat(43);
        Keys::parse(&format!("7 = {zeroes}=\n0 = {zeroes}=")).expect("two keys")
    })
}

pub fn tokens(data: &[u8]) {
    let scope = Scope::new("ent", "normandie");
    if let Some(text) = text(data) {
        match scope.read(keys(), text, 1_000) {
            // A token has one form: nobody can show the same one twice under two names.
            Ok(token) if text.len() <= 95 => reads_as(&scope, text, token),
            Ok(token) => panic!("{token:?} from {} characters", text.len()),
            Err(error) => said(&error.to_string()),
        }
        if let Ok(id) = scope.invited(keys(), text, 1_000) {
            assert!(
                scope.read(keys(), text, 1_000).is_err(),
                "an invitation is no place"
            );
            assert_eq!(scope.invite(keys(), id, 1_000).len(), text.len());
        }
    }
    let mut data = Unstructured::new(data);
    if let Ok((token, now_s, change)) = made_up(&mut data) {
        let signed = scope.sign(keys(), &token);
        match scope.read(keys(), &signed, now_s) {
            Ok(read) => assert_eq!(read, token),
            Err(TokenError::Expired) => assert!(now_s >= token.expires_s()),
            Err(TokenError::NotYet) => assert!(now_s < token.issued_s),
            Err(error) => panic!("{token:?}: {error}"),
        }
        let mut changed = signed.clone().into_bytes();
        let (at, by) = (usize::from(change.0) % changed.len(), change.1 & 0x7f);
        changed[at] ^= by;
        if let Ok(changed) = String::from_utf8(changed)
            && changed != signed
        {
            let read = scope.read(keys(), &changed, now_s);
            assert!(read.is_err(), "{changed} passes for {signed}");
        }
        let elsewhere = Scope::new("ent", "bretagne").read(keys(), &signed, now_s);
        assert_eq!(elsewhere, Err(TokenError::ForeignRegion));
        assert!(
            scope.invited(keys(), &signed, now_s).is_err(),
            "a place is no invitation"
        );
        invitation(&scope, &token, now_s, change);
    }
}

fn reads_as(scope: &Scope, text: &str, token: Token) {
    let again = scope.sign(keys(), &token);
    // Signed with the first key, which may be another than the one it came with.
    assert_eq!(again.len(), text.len());
}

/// An invitation of the same id and time; and what somebody makes of it.
fn invitation(scope: &Scope, token: &Token, now_s: u32, change: Change) {
    let signed = scope.invite(keys(), token.id, token.issued_s);
    // One of the last seconds that there are ends with them.
    let expires_s = token.issued_s.saturating_add(INVITATION_LIFE_S);
    match scope.invited(keys(), &signed, now_s) {
        Ok(id) => assert!(id == token.id && now_s < expires_s),
        Err(TokenError::Expired) => assert!(now_s >= expires_s),
        Err(TokenError::NotYet) => assert!(now_s < token.issued_s),
        Err(error) => panic!("{token:?}: {error}"),
    }
    assert!(scope.read(keys(), &signed, now_s).is_err());
    let mut changed = signed.clone().into_bytes();
    let (at, by) = (usize::from(change.0) % changed.len(), change.1 & 0x7f);
    changed[at] ^= by;
    if let Ok(changed) = String::from_utf8(changed)
        && changed != signed
    {
        let read = scope.invited(keys(), &changed, now_s);
        assert!(read.is_err(), "{changed} passes for {signed}");
    }
}

type Change = (u8, u8);

fn made_up(data: &mut Unstructured<'_>) -> arbitrary::Result<(Token, u32, Change)> {
    let seat = match data.arbitrary()? {
        true => Some(SeatTerm {
            start_s: data.arbitrary()?,
            limit_s: data.arbitrary::<Option<u32>>()?.filter(|&limit| limit > 0),
        }),
        false => None,
    };
    let token = Token {
        issuer: data.arbitrary()?,
        class: data.arbitrary()?,
        second: data.arbitrary()?,
        issued_s: data.arbitrary()?,
        id: data.arbitrary()?,
        seat,
    };
    Ok((token, data.arbitrary()?, data.arbitrary()?))
}

/// What keys sign they can also read.
pub fn signs(keys: &Keys) {
    let scope = Scope::new("ent", "normandie");
    let token = Token {
        issuer: 1,
        class: 2,
        second: 3,
        issued_s: 4,
        id: 5,
        seat: None,
    };
    assert_eq!(scope.read(keys, &scope.sign(keys, &token), 10), Ok(token));
}
