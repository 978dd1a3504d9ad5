//! Who somebody is, where the portal's login or a proxy says so by a JSON Web Token (RFC 7519): an OpenID Connect ID
//! token, or one that the login signs with a secret shared with the gate. So a person has one place, whichever
//! device they come by, and the class that they are of.

mod guarded;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use axum::http::HeaderMap;
use axum::http::header::COOKIE;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use ring::hmac;
use serde::Deserialize;

use crate::config::ConfigError;

pub use guarded::Guarded;

/// Longest token, in bytes.
const MAX_TOKEN_BYTES: usize = 4 << 10;
/// Longest file of keys, in bytes; shortest and longest secret.
const MAX_FILE_BYTES: u64 = 256 << 10;
const SECRET_BYTES: (usize, usize) = (32, 4 << 10);
/// Clocks may be so far apart, in seconds.
const LEEWAY_S: u64 = 30;

/// How identities are verified.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The header that has the token, bare or after `Bearer`.
    #[serde(default = "default_header")]
    pub header: String,
    /// The cookie that has it where the header is not there.
    #[serde(default)]
    pub cookie: Option<String>,
    /// A file with the secret that HS256 tokens are signed with: this or `jwks`.
    #[serde(default)]
    pub secret: Option<PathBuf>,
    /// A file with the issuer's public keys, a JSON Web Key Set (RFC 7517).
    #[serde(default)]
    pub jwks: Option<PathBuf>,
    /// Who must have issued it: must be given with `jwks`.
    #[serde(default)]
    pub issuer: Option<String>,
    /// Whom it must be for: must be given with `jwks`.
    #[serde(default)]
    pub audience: Option<String>,
    /// The claim that says of which class somebody is.
    #[serde(default = "default_class_claim")]
    pub class_claim: String,
    /// The pool's class for each value of that claim; others are of no class in particular.
    #[serde(default)]
    pub classes: BTreeMap<String, String>,
}

fn default_header() -> String {
    "x-preau-identity".into()
}

fn default_class_claim() -> String {
    "class".into()
}

impl Config {
    /// Checks that it is whole.
    ///
    /// # Errors
    /// The first field that is missing or one too many.
    pub fn validate(&self) -> Result<(), ConfigError> {
        match (&self.secret, &self.jwks) {
            (Some(_), None) => {}
            (None, Some(_)) => {
                for (field, given) in [
                    ("identity.issuer", &self.issuer),
                    ("identity.audience", &self.audience),
                ] {
                    if given.as_ref().is_none_or(String::is_empty) {
                        return Err(ConfigError::new(
                            field,
                            "nothing",
                            "a text, for jwks is given",
                        ));
                    }
                }
            }
            (Some(_), Some(_)) => {
                return Err(ConfigError::new(
                    "identity.jwks",
                    "secret as well",
                    "one of them",
                ));
            }
            (None, None) => {
                return Err(ConfigError::new(
                    "identity.jwks",
                    "nothing",
                    "this or secret",
                ));
            }
        }
        if self.header.parse::<axum::http::HeaderName>().is_err() {
            let given = format!("{:?}", self.header);
            return Err(ConfigError::new(
                "identity.header",
                given,
                "a header's name",
            ));
        }
        Ok(())
    }
}

/// Somebody who is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// A keyed hash of who it is. Who it is, is not kept.
    pub key: [u8; 16],
    /// The pool's class that they are of.
    pub class: Option<String>,
}

/// Why an identity counts as none, or none can be verified.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file can't be used.
    #[error("{field}: {path}: {why}; expected {expected}")]
    File {
        /// Which.
        field: &'static str,
        /// The file.
        path: String,
        /// Why.
        why: String,
        /// What would do.
        expected: String,
    },
    /// The system gives no random bytes.
    #[error("identity: the system gives no random bytes")]
    NoRandom,
    /// A token is longer than any is.
    #[error("the token has more than {MAX_TOKEN_BYTES} bytes")]
    TooLong,
    /// No key of the set may have signed it.
    #[error("no key of the set is the token's")]
    NoKey,
    /// It is not right, by what it is or when.
    #[error("the token: {0}")]
    Token(#[from] jsonwebtoken::errors::Error),
    /// Since when it is good can't be read.
    #[error("the token's nbf is no number of seconds")]
    NotBefore,
    /// Too many that were forged have come from the same address or network.
    #[error("too many forged tokens have come from there")]
    TooMany,
    /// It does not say who.
    #[error("the token has no sub")]
    NoSubject,
}

/// Verifies identities.
#[derive(Debug)]
pub struct Identity {
    config: Config,
    keys: RwLock<Keys>,
    hash: hmac::Key,
}

enum Keys {
    Secret(DecodingKey),
    Set(Vec<(Jwk, DecodingKey)>),
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Secret(_) => f.write_str("Secret"),
            Self::Set(keys) => f.debug_tuple("Set").field(&keys.len()).finish(),
        }
    }
}

#[derive(Debug, Deserialize)]
struct Claims {
    #[serde(default)]
    iss: String,
    #[serde(default)]
    sub: String,
    #[serde(flatten)]
    others: BTreeMap<String, serde_json::Value>,
}

impl Identity {
    /// By a configuration's files.
    ///
    /// # Errors
    /// Where a file can't be read, or has no keys that will do.
    pub fn new(config: &Config) -> Result<Self, IdentityError> {
        let random = ring::rand::SystemRandom::new();
        let hash = hmac::Key::generate(hmac::HMAC_SHA256, &random);
        Ok(Self {
            keys: RwLock::new(read(config)?),
            hash: hash.map_err(|_| IdentityError::NoRandom)?,
            config: config.clone(),
        })
    }

    /// Reads the keys again.
    ///
    /// # Errors
    /// As [`Identity::new`]; the keys then stay what they were.
    pub fn refresh(&self) -> Result<(), IdentityError> {
        let keys = read(&self.config)?;
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
        Ok(())
    }

    /// Who makes a request with these headers; `None` where nobody says so.
    ///
    /// # Errors
    /// Where somebody says so, and is not to be believed.
    pub fn person(&self, headers: &HeaderMap) -> Result<Option<Person>, IdentityError> {
        let Some(token) = self.token(headers) else {
            return Ok(None);
        };
        if token.len() > MAX_TOKEN_BYTES {
            return Err(IdentityError::TooLong);
        }
        let claims = self.claims(token)?;
        if claims.sub.is_empty() {
            return Err(IdentityError::NoSubject);
        }
        let mut hash = hmac::Context::with_key(&self.hash);
        // The length keeps one issuer's people apart from another's.
        hash.update(&claims.iss.len().to_be_bytes());
        hash.update(claims.iss.as_bytes());
        hash.update(claims.sub.as_bytes());
        let mut key = [0; 16];
        key.copy_from_slice(&hash.sign().as_ref()[..16]);
        let class = claims.others.get(&self.config.class_claim);
        let class = class.and_then(|class| class.as_str());
        let class = class
            .and_then(|class| self.config.classes.get(class))
            .cloned();
        Ok(Some(Person { key, class }))
    }

    /// What a request says of who makes it, not looked into yet.
    fn token<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        if let Some(said) = headers.get(&self.config.header) {
            let said = said.to_str().ok()?.trim();
            return Some(said.strip_prefix("Bearer ").unwrap_or(said).trim_start());
        }
        let name = self.config.cookie.as_ref()?;
        let lines = headers
            .get_all(COOKIE)
            .into_iter()
            .filter_map(|line| line.to_str().ok());
        let pairs = lines.flat_map(|line| line.split(';'));
        let mut pairs = pairs.filter_map(|pair| pair.trim().split_once('='));
        pairs
            .find(|(other, _)| other == name)
            .map(|(_, value)| value)
    }

    fn claims(&self, token: &str) -> Result<Claims, IdentityError> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let (key, algorithms) = match &*keys {
            Keys::Secret(key) => (key, vec![Algorithm::HS256]),
            Keys::Set(keys) => {
                let kid = decode_header(token)?.kid;
                let named = |key: &&(Jwk, DecodingKey)| key.0.common.key_id == kid;
                let found = keys.iter().find(named);
                let only = || keys.first().filter(|_| kid.is_none() && keys.len() == 1);
                let (jwk, key) = found.or_else(only).ok_or(IdentityError::NoKey)?;
                (key, algorithms(jwk).ok_or(IdentityError::NoKey)?)
            }
        };
        let mut validation = Validation::default();
        // What the key is for decides, and not what the token says of itself.
        validation.algorithms = algorithms;
        validation.leeway = LEEWAY_S;
        validation.validate_nbf = true;
        validation.set_required_spec_claims(&["exp", "sub"]);
        if let Some(issuer) = &self.config.issuer {
            validation.set_issuer(&[issuer]);
            validation.required_spec_claims.insert("iss".into());
        }
        match &self.config.audience {
            Some(audience) => {
                validation.set_audience(&[audience]);
                validation.required_spec_claims.insert("aud".into());
            }
            None => validation.validate_aud = false,
        }
        let claims = decode::<Claims>(token, key, &validation)?.claims;
        // The library takes one that it can't read for none.
        let is_time =
            |said: &serde_json::Value| said.as_f64().is_some_and(|s| (0.0..1e18).contains(&s));
        match claims.others.get("nbf") {
            Some(said) if !is_time(said) => Err(IdentityError::NotBefore),
            _ => Ok(claims),
        }
    }
}

fn read(config: &Config) -> Result<Keys, IdentityError> {
    match (&config.secret, &config.jwks) {
        (Some(path), _) => {
            let expected = format!("{} to {} bytes", SECRET_BYTES.0, SECRET_BYTES.1);
            let refuse = |why: String| refuse("identity.secret", path, why, &expected);
            let text = std::fs::read_to_string(path).map_err(|e| refuse(e.to_string()))?;
            let secret = text.trim();
            if !(SECRET_BYTES.0..=SECRET_BYTES.1).contains(&secret.len()) {
                return Err(refuse(format!("{} bytes", secret.len())));
            }
            Ok(Keys::Secret(DecodingKey::from_secret(secret.as_bytes())))
        }
        (None, Some(path)) => set(path),
        (None, None) => Ok(Keys::Set(Vec::new())),
    }
}

fn set(path: &Path) -> Result<Keys, IdentityError> {
    let expected = "a JSON Web Key Set of public keys (RSA, P-256, P-384 or Ed25519)";
    let refuse = |why: String| refuse("identity.jwks", path, why, expected);
    let bytes = std::fs::metadata(path)
        .map_err(|e| refuse(e.to_string()))?
        .len();
    if bytes > MAX_FILE_BYTES {
        return Err(refuse(format!("{bytes} bytes, more than {MAX_FILE_BYTES}")));
    }
    let text = std::fs::read_to_string(path).map_err(|e| refuse(e.to_string()))?;
    let set: JwkSet = serde_json::from_str(&text).map_err(|e| refuse(e.to_string()))?;
    let usable = set.keys.into_iter().filter_map(|jwk| {
        algorithms(&jwk)?;
        let key = DecodingKey::from_jwk(&jwk).ok()?;
        Some((jwk, key))
    });
    let usable: Vec<_> = usable.collect();
    if usable.is_empty() {
        return Err(refuse("no key in it will do".into()));
    }
    Ok(Keys::Set(usable))
}

/// What a public key may have signed by; `None` for a key that is no such thing.
fn algorithms(jwk: &Jwk) -> Option<Vec<Algorithm>> {
    use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
    let fit = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => vec![RS256, RS384, RS512, PS256, PS384, PS512],
        AlgorithmParameters::EllipticCurve(curve) => match curve.curve {
            EllipticCurve::P256 => vec![ES256],
            EllipticCurve::P384 => vec![ES384],
            _ => return None,
        },
        AlgorithmParameters::OctetKeyPair(_) => vec![EdDSA],
        AlgorithmParameters::OctetKey(_) => return None,
    };
    let Some(said) = jwk.common.key_algorithm else {
        return Some(fit);
    };
    let said: Algorithm = said.to_string().parse().ok()?;
    fit.contains(&said).then(|| vec![said])
}

fn refuse(field: &'static str, path: &Path, why: String, expected: &str) -> IdentityError {
    IdentityError::File {
        field,
        path: path.display().to_string(),
        why,
        expected: expected.to_owned(),
    }
}

#[cfg(test)]
mod tests;
