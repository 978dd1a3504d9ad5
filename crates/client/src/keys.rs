//! The keys that tickets and seats are signed with: a file of lines `id = base64(32 bytes)`, the same at
//! every front-end of a region. The first key signs, and all of them verify.
//!
//! To change keys, add the new one at the end everywhere, then move it to the top everywhere, and take the
//! old one out once the tokens that it signed have expired.

use std::fmt;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::{digest, hmac};

/// Bytes of a key.
const KEY_BYTES: usize = 32;
/// Most bytes of a key file: 256 keys, with room for remarks.
const MAX_FILE_BYTES: u64 = 64 << 10;

/// Why keys can't be used.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The file can't be read.
    #[error("keys: {path}: {error}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        error: std::io::Error,
    },
    /// The file is far too large to be one of keys.
    #[error("keys: {path} has {bytes} bytes; expected at most {MAX_FILE_BYTES}")]
    TooLarge {
        /// The file.
        path: String,
        /// Its size.
        bytes: u64,
    },
    /// A line is not a key.
    #[error("keys: line {line}: {what}")]
    Line {
        /// The line, from 1.
        line: usize,
        /// What is wrong with it. A key itself is never shown.
        what: String,
    },
    /// There is no key.
    #[error("keys: there are none; expected lines `id = base64 of {KEY_BYTES} bytes`")]
    None,
    /// The system gives no random bytes.
    #[error("keys: the system gives no random bytes")]
    NoRandom,
}

/// Keys: the first signs, all verify.
#[derive(Clone)]
pub struct Keys {
    keys: Vec<(u8, hmac::Key)>,
}

impl Keys {
    /// Reads lines `id = base64(32 bytes)`. Empty lines and those that begin with `#` say nothing.
    ///
    /// # Errors
    /// Where there is no key, an id comes twice, or a line is none of these.
    pub fn parse(text: &str) -> Result<Self, KeysError> {
        let mut keys: Vec<(u8, hmac::Key)> = Vec::new();
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (id, key) =
                parse_line(line).map_err(|what| KeysError::Line { line: at + 1, what })?;
            if keys.iter().any(|(other, _)| *other == id) {
                let what = format!("key {id} has been given before; expected each id once");
                return Err(KeysError::Line { line: at + 1, what });
            }
            keys.push((id, key));
        }
        if keys.is_empty() {
            return Err(KeysError::None);
        }
        Ok(Self { keys })
    }

    /// One key that nobody else has: what it signs is good at this front-end alone.
    ///
    /// # Errors
    /// Where the system gives no random bytes.
    pub fn random() -> Result<Self, KeysError> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &random_bytes::<KEY_BYTES>()?);
        Ok(Self {
            keys: vec![(0, key)],
        })
    }

    pub(crate) fn signing(&self) -> (u8, &hmac::Key) {
        let (id, key) = &self.keys[0];
        (*id, key)
    }

    pub(crate) fn get(&self, id: u8) -> Option<&hmac::Key> {
        self.keys
            .iter()
            .find(|(other, _)| *other == id)
            .map(|(_, key)| key)
    }

    fn ids(&self) -> Vec<u8> {
        self.keys.iter().map(|(id, _)| *id).collect()
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("ids", &self.ids()).finish()
    }
}

/// A line for a key file, with a new key.
///
/// # Errors
/// Where the system gives no random bytes.
pub fn new_key(id: u8) -> Result<String, KeysError> {
    Ok(format!(
        "{id} = {}",
        STANDARD.encode(random_bytes::<KEY_BYTES>()?)
    ))
}

/// Random bytes from the system.
pub(crate) fn random_bytes<const N: usize>() -> Result<[u8; N], KeysError> {
    let mut bytes = [0; N];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| KeysError::NoRandom)?;
    Ok(bytes)
}

fn parse_line(line: &str) -> Result<(u8, hmac::Key), String> {
    let (id, key) = line
        .split_once('=')
        .ok_or_else(|| format!("no `=`; expected `id = base64 of {KEY_BYTES} bytes`"))?;
    let id = id.trim();
    let number = id
        .parse()
        .map_err(|_| format!("key id {id:?}; expected a number from 0 to 255"))?;
    let bytes = STANDARD
        .decode(key.trim())
        .map_err(|_| format!("key {number} is not base64; expected that of {KEY_BYTES} bytes"))?;
    if bytes.len() != KEY_BYTES {
        return Err(format!(
            "key {number} has {} bytes; expected {KEY_BYTES}",
            bytes.len()
        ));
    }
    Ok((number, hmac::Key::new(hmac::HMAC_SHA256, &bytes)))
}

/// A file of keys, read again when it has changed.
#[derive(Debug)]
pub struct KeyFile {
    path: PathBuf,
    /// What it had when it was last read: its bytes are not kept.
    read: [u8; 32],
    keys: Keys,
}

impl KeyFile {
    /// Reads a file.
    ///
    /// # Errors
    /// As [`Keys::parse`], and where it can't be read or is larger than 64 KiB.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, KeysError> {
        let path = path.into();
        let text = read(&path)?;
        let keys = Keys::parse(&text)?;
        let read = fingerprint(&text);
        Ok(Self { path, read, keys })
    }

    /// The keys, as they were last read.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Reads the file again, and says whether its keys have changed.
    ///
    /// # Errors
    /// As [`KeyFile::open`]; the keys then stay what they were.
    pub fn refresh(&mut self) -> Result<bool, KeysError> {
        let text = read(&self.path)?;
        let read = fingerprint(&text);
        if read == self.read {
            return Ok(false);
        }
        self.keys = Keys::parse(&text)?;
        self.read = read;
        Ok(true)
    }
}

fn read(path: &Path) -> Result<String, KeysError> {
    let unreadable = |error| KeysError::Unreadable {
        path: path.display().to_string(),
        error,
    };
    let bytes = std::fs::metadata(path).map_err(unreadable)?.len();
    if bytes > MAX_FILE_BYTES {
        return Err(KeysError::TooLarge {
            path: path.display().to_string(),
            bytes,
        });
    }
    std::fs::read_to_string(path).map_err(unreadable)
}

fn fingerprint(text: &str) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest::digest(&digest::SHA256, text.as_bytes()).as_ref());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(id: u8, byte: u8) -> String {
        format!("{id} = {}\n", STANDARD.encode([byte; KEY_BYTES]))
    }

    #[test]
    fn the_first_key_signs_and_all_are_known() {
        let text = format!("# today's\n\n  {}{}", line(7, 1), line(0, 2));
        let keys = Keys::parse(&text).unwrap();
        assert_eq!(keys.signing().0, 7);
        assert!(keys.get(0).is_some() && keys.get(1).is_none());
        assert_eq!(
            format!("{keys:?}"),
            "Keys { ids: [7, 0] }",
            "no key is ever shown"
        );
    }

    #[test]
    fn a_bad_line_is_named_and_no_key_is_shown() {
        let message = |text: &str| Keys::parse(text).unwrap_err().to_string();
        assert!(message("# none\n").contains("there are none"));
        assert!(message("\nnonsense").starts_with("keys: line 2: no `=`"));
        assert_eq!(
            message("256 = AAAA"),
            "keys: line 1: key id \"256\"; expected a number from 0 to 255"
        );
        assert_eq!(
            message("1 = AAAA"),
            "keys: line 1: key 1 has 3 bytes; expected 32"
        );
        let secret = message("1 = s3cret!");
        assert_eq!(
            secret,
            "keys: line 1: key 1 is not base64; expected that of 32 bytes"
        );
        let twice = message(&(line(3, 1) + &line(3, 2)));
        assert_eq!(
            twice,
            "keys: line 2: key 3 has been given before; expected each id once"
        );
    }

    #[test]
    fn new_keys_can_be_read_and_differ() {
        let (one, two) = (new_key(9).unwrap(), new_key(9).unwrap());
        assert_ne!(one, two);
        assert_eq!(Keys::parse(&one).unwrap().signing().0, 9);
    }

    #[test]
    fn a_file_is_read_again_when_it_has_changed_and_kept_when_it_is_bad() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys");
        let missing = KeyFile::open(&path).unwrap_err().to_string();
        assert!(
            missing.contains("keys: ") && missing.contains("No such file"),
            "{missing}"
        );
        std::fs::write(&path, line(1, 1)).unwrap();
        let mut file = KeyFile::open(&path).unwrap();
        assert!(!file.refresh().unwrap());
        std::fs::write(&path, line(2, 2) + &line(1, 1)).unwrap();
        assert!(file.refresh().unwrap());
        assert_eq!(file.keys().ids(), [2, 1]);
        std::fs::write(&path, "broken").unwrap();
        assert!(file.refresh().is_err());
        assert!(file.refresh().is_err(), "said again");
        assert_eq!(file.keys().ids(), [2, 1]);
        std::fs::write(&path, vec![b'#'; 65_537]).unwrap();
        let large = file.refresh().unwrap_err().to_string();
        assert!(
            large.contains("has 65537 bytes; expected at most 65536"),
            "{large}"
        );
    }
}
