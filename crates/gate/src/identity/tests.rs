//! By keys made for each test; the RSA key is gone, and what it signed is good until 2100.

use super::*;
use crate::limits;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{EncodingKey, Header, encode, get_current_timestamp};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
};
use serde_json::{Value, json};
use tempfile::TempDir;

const ISSUER: &str = "https://login.example";
const AUDIENCE: &str = "gate";
const SECRET: &str = "0123456789abcdef0123456789abcdef";
const RSA_N: &str = "37AnnZE-PGKl913gvGdauxWIpG6HM0HGqmuaIgTbPMA0EO233Jc5J0Obzrm2j129C24eeycD50zuvSlVzbJTz_w7vGlIG8Vcfktm8WQqriVaDFdf7deXWmLhLuvcnGs_Yh0GGjGRU7HPV9WZiDXd5WmY-3zazUx0qx-Omw6RD5hrefI_euNIa_HKPbrdl0wJiUXUlh2B2PTrU6XI7gyZzVNe-m16GHQAu2QLf_WOx6dT6mer5-MWVLNxUFPOFECwFTQ8c4ntd0nY8rr0H2aEHZV3XfMxOFwEap9hJlD1ydMMOyMWoerTeIsWFLhecHlXOS2KXfZYuZNUEeey8liraQ";
const RSA_TOKEN: &str = "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6InJzYSJ9.eyJpc3MiOiJodHRwczovL2xvZ2luLmV4YW1wbGUiLCJhdWQiOiJnYXRlIiwic3ViIjoicHVwaWwiLCJleHAiOjQxMDI0NDQ4MDAsImNsYXNzIjoidGVhY2hlciJ9.Gc7InP-36FSrzgo3IHgT3bkHzMp3lDf3qFD7LjmItAl-ymSgpJMsfh8H05CtCMg--byMMr_j83ezS6HqhLinwmMesIAJpYUTCFJjpYi67KQmHBv-0TCe2IsYd4KPHr3jclcfzY4j1aFPtFHKXAqvNnq7sQf-_RJWTPBx-3uMn2-L_eFvoDChMAVOjBgi4RvMziEXhEPSzmGzXnHZLyHBMl7Bi98KAoBPq0dh0kx97g8uTa8rD53R24qulAmDu9thyykTT3RdD9GyuXY3TlhvGV1kL2XljLAC2yOt_U8BZaxz8qbZgQpSgHUwNGO5pWGUEaM9zE5o1UpgYfFrTKpkRA";

/// An issuer with a key of each kind.
struct Login {
    dir: TempDir,
    ec: Vec<u8>,
    ec_public: Vec<u8>,
    ed: Vec<u8>,
}

fn text(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Login {
    fn new() -> Self {
        let random = SystemRandom::new();
        let ec = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, ec.as_ref(), &random)
            .unwrap();
        let ed = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
        let ed_pair = Ed25519KeyPair::from_pkcs8(ed.as_ref()).unwrap();
        let login = Self {
            dir: tempfile::tempdir().unwrap(),
            ec_public: pair.public_key().as_ref().to_vec(),
            ec: ec.as_ref().to_vec(),
            ed: ed.as_ref().to_vec(),
        };
        login.publish(&json!({ "keys": [
            { "kty": "EC", "crv": "P-256", "kid": "ec",
                "x": text(&login.ec_public[1..33]), "y": text(&login.ec_public[33..]) },
            { "kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": text(ed_pair.public_key().as_ref()) },
            { "kty": "RSA", "kid": "rsa", "n": RSA_N, "e": "AQAB" },
            { "kty": "RSA", "kid": "rsa-512", "alg": "RS512", "n": RSA_N, "e": "AQAB" },
            { "kty": "oct", "kid": "oct", "k": text(SECRET.as_bytes()) },
        ] }));
        login
    }

    fn publish(&self, set: &Value) {
        std::fs::write(self.path(), set.to_string()).unwrap();
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("jwks")
    }

    fn config(&self) -> Config {
        let config = json!({
            "header": "authorization", "cookie": "id", "jwks": self.path(),
            "issuer": ISSUER, "audience": AUDIENCE, "classes": { "teacher": "teachers" },
        });
        let config: Config = serde_json::from_value(config).unwrap();
        config.validate().unwrap();
        config
    }

    fn identity(&self) -> Identity {
        Identity::new(&self.config()).unwrap()
    }

    /// A token by the EC key.
    fn token(&self, kid: Option<&str>, claims: &Value) -> String {
        sign(
            Algorithm::ES256,
            kid,
            &EncodingKey::from_ec_der(&self.ec),
            claims,
        )
    }
}

fn sign(algorithm: Algorithm, kid: Option<&str>, key: &EncodingKey, claims: &Value) -> String {
    let mut header = Header::new(algorithm);
    header.kid = kid.map(Into::into);
    encode(&header, claims, key).unwrap()
}

/// Good ones, in which `others` take the place.
fn claims(others: Value) -> Value {
    let exp = get_current_timestamp() + 600;
    let mut claims = json!({ "iss": ISSUER, "aud": AUDIENCE, "sub": "pupil", "exp": exp });
    for (name, value) in others.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims
}

fn by_header(name: &str, value: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(
        name.parse::<axum::http::HeaderName>().unwrap(),
        value.parse().unwrap(),
    );
    headers
}

fn bearer(token: &str) -> HeaderMap {
    by_header("authorization", &format!("Bearer {token}"))
}

#[test]
fn a_person_is_one_whichever_key_vouches_and_whichever_way_it_is_shown() {
    let (login, claims) = (Login::new(), claims(json!({ "class": "teacher" })));
    let identity = login.identity();
    let ec = login.token(Some("ec"), &claims);
    let ed = sign(
        Algorithm::EdDSA,
        Some("ed"),
        &EncodingKey::from_ed_der(&login.ed),
        &claims,
    );
    let person = identity.person(&bearer(&ec)).unwrap().unwrap();
    assert_eq!(person.class.as_deref(), Some("teachers"));
    for headers in [
        bearer(&ed),
        bearer(RSA_TOKEN),
        by_header("authorization", &ec),
        by_header("cookie", &format!("a=b; id={ec}")),
    ] {
        assert_eq!(identity.person(&headers).unwrap().unwrap(), person);
    }
    assert_eq!(identity.person(&HeaderMap::new()).unwrap(), None);
    assert_eq!(identity.person(&by_header("cookie", "a=b")).unwrap(), None);
    let other = Login::new();
    let elsewhere = other
        .identity()
        .person(&bearer(RSA_TOKEN))
        .unwrap()
        .unwrap();
    assert_ne!(
        elsewhere.key, person.key,
        "what is kept says nothing to another gate"
    );
}

#[test]
fn who_is_somebody_else_or_of_no_known_class_is_told_apart() {
    let login = Login::new();
    let identity = login.identity();
    let person = |others| {
        let token = login.token(Some("ec"), &claims(others));
        identity.person(&bearer(&token)).unwrap().unwrap()
    };
    let pupil = person(json!({}));
    assert_ne!(pupil.key, person(json!({ "sub": "another" })).key);
    for class in [
        json!("principal"),
        json!(["teacher"]),
        json!(7),
        json!(null),
    ] {
        assert_eq!(person(json!({ "class": class })), pupil);
    }
}

#[test]
fn what_is_not_for_this_gate_or_not_for_now_is_refused() {
    let login = Login::new();
    let identity = login.identity();
    let now = get_current_timestamp();
    for others in [
        json!({ "iss": "https://evil.example" }),
        json!({ "iss": null }),
        json!({ "aud": "another" }),
        json!({ "aud": [] }),
        json!({ "aud": null }),
        json!({ "exp": now - LEEWAY_S - 5 }),
        json!({ "exp": "tomorrow" }),
        json!({ "exp": null }),
        json!({ "nbf": now + LEEWAY_S + 60 }),
        json!({ "nbf": "tomorrow" }),
        json!({ "nbf": (now + LEEWAY_S + 60).to_string() }),
        json!({ "nbf": -1 }),
        json!({ "nbf": 1e300 }),
        json!({ "nbf": [now] }),
        json!({ "nbf": null }),
        json!({ "sub": "" }),
        json!({ "sub": null }),
        json!({ "sub": 7 }),
    ] {
        let token = login.token(Some("ec"), &claims(others.clone()));
        assert!(identity.person(&bearer(&token)).is_err(), "{others}");
    }
    for others in [
        json!({ "aud": ["another", AUDIENCE] }),
        json!({ "nbf": now }),
        json!({ "nbf": now as f64 + 0.5 }),
    ] {
        let token = login.token(Some("ec"), &claims(others.clone()));
        assert!(identity.person(&bearer(&token)).is_ok(), "{others}");
    }
}

#[test]
fn forged_tokens_are_looked_into_at_a_rate() {
    let login = Login::new();
    let rates = limits::Config {
        address_per_s: 1,
        address_burst: 3,
        ..limits::Config::default()
    };
    let guarded = Guarded::new(login.identity(), &rates);
    let from =
        |address: &str, token: &str| guarded.person(Some(address.parse().unwrap()), &bearer(token));
    let good = login.token(Some("ec"), &claims(json!({})));
    let (signed, _) = good.rsplit_once('.').unwrap();
    let forged = format!("{signed}.{}", text(&[0; 64]));
    let past = login.token(Some("ec"), &claims(json!({ "exp": 1 })));
    let unknown = login.token(Some("new"), &claims(json!({})));
    for _ in 0..20 {
        assert!(from("192.0.2.7", &good).is_ok());
        for honest in [&past, &unknown] {
            let refused = from("192.0.2.7", honest).unwrap_err();
            assert!(!matches!(refused, IdentityError::TooMany));
        }
    }
    let verified = (0..20).filter(|_| match from("192.0.2.7", &forged) {
        Err(IdentityError::TooMany) => false,
        refused => refused.is_err(),
    });
    // A second may go by meanwhile.
    assert!((3..=6).contains(&verified.count()));
    assert!(matches!(
        from("192.0.2.7", &forged),
        Err(IdentityError::TooMany)
    ));
    assert!(from("192.0.2.8", &good).is_ok());
    // Who was known there before is known still, and who comes then is not.
    assert!(from("192.0.2.7", &good).is_ok());
    let newcomer = login.token(Some("ec"), &claims(json!({ "sub": "newcomer" })));
    assert!(matches!(
        from("192.0.2.7", &newcomer),
        Err(IdentityError::TooMany)
    ));
}

#[test]
fn the_key_decides_how_it_signs_and_not_the_token() {
    let (login, claims) = (Login::new(), claims(json!({})));
    let identity = login.identity();
    let refused = |token: &str| assert!(identity.person(&bearer(token)).is_err(), "{token}");
    // Public keys, as if they were secrets; and a secret that somebody has published.
    for (kid, secret) in [
        ("ec", login.ec_public.clone()),
        ("ec", std::fs::read(login.path()).unwrap()),
        ("rsa", RSA_N.as_bytes().to_vec()),
        ("rsa", URL_SAFE_NO_PAD.decode(RSA_N).unwrap()),
        ("oct", SECRET.as_bytes().to_vec()),
    ] {
        let secret = EncodingKey::from_secret(&secret);
        refused(&sign(Algorithm::HS256, Some(kid), &secret, &claims));
    }
    // Another key's name, none, or none that is there.
    for kid in [Some("ed"), Some("rsa"), Some("nobody"), Some(""), None] {
        refused(&login.token(kid, &claims));
    }
    // The right key, for something else.
    refused(&RSA_TOKEN.replacen(
        &text(br#"{"alg":"RS256","typ":"JWT","kid":"rsa"}"#),
        &text(br#"{"alg":"RS256","typ":"JWT","kid":"rsa-512"}"#),
        1,
    ));
    // No signature at all.
    let payload = text(claims.to_string().as_bytes());
    for head in [
        r#"{"alg":"none","kid":"ec"}"#,
        r#"{"alg":"None"}"#,
        r#"{"kid":"ec"}"#,
    ] {
        refused(&format!("{}.{payload}.", text(head.as_bytes())));
    }
    let good = login.token(Some("ec"), &claims);
    let (signed, signature) = good.rsplit_once('.').unwrap();
    for bad in [
        format!("{signed}."),
        signed.to_owned(),
        format!("{good}.{signature}"),
        format!("{signed}.{}", text(&[0; 64])),
        format!("{signed}x.{signature}"),
        "..".to_owned(),
    ] {
        refused(&bad);
    }
}

#[test]
fn a_long_token_is_not_looked_into() {
    let login = Login::new();
    let long = login.token(
        Some("ec"),
        &claims(json!({ "padding": "a".repeat(MAX_TOKEN_BYTES) })),
    );
    let refused = login.identity().person(&bearer(&long));
    assert!(
        matches!(refused, Err(IdentityError::TooLong)),
        "{refused:?}"
    );
}

#[test]
fn keys_are_read_again_and_kept_where_they_can_not_be() {
    let login = Login::new();
    let identity = login.identity();
    let is_known = || identity.person(&bearer(RSA_TOKEN)).is_ok();
    for bad in [
        "",
        "[]",
        r#"{"keys":[]}"#,
        r#"{"keys":[{"kty":"oct","k":"AAAA"}]}"#,
    ] {
        std::fs::write(login.path(), bad).unwrap();
        let error = identity.refresh().unwrap_err().to_string();
        let path = login.path().display().to_string();
        assert!(
            error.starts_with("identity.jwks: ") && error.contains(&path),
            "{error}"
        );
        assert!(is_known());
    }
    login.publish(&json!({ "keys": [{ "kty": "RSA", "kid": "new", "n": RSA_N, "e": "AQAB" }] }));
    identity.refresh().unwrap();
    assert!(!is_known(), "its key was taken out");
    std::fs::write(login.path(), vec![b' '; MAX_FILE_BYTES as usize + 1]).unwrap();
    assert!(identity.refresh().is_err());
}

#[test]
fn a_secret_is_shared_with_the_login() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("secret");
    let config: Config = serde_json::from_value(json!({ "secret": path })).unwrap();
    config.validate().unwrap();
    std::fs::write(&path, "short").unwrap();
    let error = Identity::new(&config).unwrap_err().to_string();
    assert!(
        error.contains("5 bytes; expected 32 to 4096 bytes"),
        "{error}"
    );
    std::fs::write(&path, format!("{SECRET}\n")).unwrap();
    let identity = Identity::new(&config).unwrap();
    let token = |secret: &str| {
        let key = EncodingKey::from_secret(secret.as_bytes());
        sign(Algorithm::HS256, None, &key, &claims(json!({})))
    };
    let shown = |token: &str| identity.person(&by_header("x-preau-identity", token));
    assert!(shown(&token(SECRET)).unwrap().is_some());
    assert!(shown(&token("another secret of thirty-two bytes")).is_err());
    assert!(shown(RSA_TOKEN).is_err());
}

#[test]
fn two_logins_people_of_the_same_name_are_two() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("secret");
    std::fs::write(&path, SECRET).unwrap();
    let config: Config = serde_json::from_value(json!({ "secret": path })).unwrap();
    let identity = Identity::new(&config).unwrap();
    let person = |others| {
        let key = EncodingKey::from_secret(SECRET.as_bytes());
        let token = sign(Algorithm::HS256, None, &key, &claims(others));
        let headers = by_header("x-preau-identity", &token);
        identity.person(&headers).unwrap().unwrap()
    };
    let here = person(json!({}));
    assert_eq!(here, person(json!({})));
    assert_ne!(here, person(json!({ "iss": "https://another.example" })));
    // Nor do they meet where one name ends as the other begins.
    let apart = [("ab", "c"), ("a", "bc"), ("", "abc")];
    let [a, b, c] = apart.map(|(iss, sub)| person(json!({ "iss": iss, "sub": sub })));
    assert!(a != b && b != c && a != c);
}

#[test]
fn a_configuration_is_whole() {
    let field = |config: Value| {
        let config: Config = serde_json::from_value(config).unwrap();
        config.validate().unwrap_err().field
    };
    assert_eq!(field(json!({})), "identity.jwks");
    assert_eq!(
        field(json!({ "jwks": "a", "secret": "b" })),
        "identity.jwks"
    );
    assert_eq!(
        field(json!({ "jwks": "a", "audience": "b" })),
        "identity.issuer"
    );
    assert_eq!(
        field(json!({ "jwks": "a", "issuer": "b" })),
        "identity.audience"
    );
    assert_eq!(
        field(json!({ "secret": "a", "header": "é" })),
        "identity.header"
    );
}
