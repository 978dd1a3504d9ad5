//! What people read, in their language. French and English are built in; a directory of Fluent files adds others,
//! or other words.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fluent_bundle::concurrent::FluentBundle;
use fluent_bundle::resolver::ResolverError;
use fluent_bundle::resolver::errors::ReferenceKind;
use fluent_bundle::{FluentArgs, FluentError, FluentResource, FluentValue};
use fluent_langneg::{NegotiationStrategy, negotiate_languages, parse_accepted_languages};
use unic_langid::{CharacterDirection, LanguageIdentifier};

/// The first is what is spoken where nothing else is asked for, and what stands in for what others lack.
const BUILT_IN: [(&str, &str); 2] = [
    ("fr", include_str!("../../texts/fr.ftl")),
    ("en", include_str!("../../texts/en.ftl")),
];
/// Longest file of texts, in bytes.
const MAX_BYTES: u64 = 256 << 10;
/// Most languages, and most files.
pub const MAX_LANGUAGES: usize = 32;
/// So much of an Accept-Language header is read: it is looked at against every language that is known.
const MAX_ACCEPTED_BYTES: usize = 256;
/// What each text is tried with, so that none fails before people: all plural forms that languages tell apart.
const TRIED: [u64; 8] = [0, 1, 2, 3, 5, 11, 100, 1_000_000];

/// Why texts can't be had.
#[derive(Debug, thiserror::Error)]
pub enum TextsError {
    /// The directory or a file can't be read.
    #[error("texts: {path}: {why}")]
    Unreadable {
        /// Which.
        path: String,
        /// Why.
        why: std::io::Error,
    },
    /// A file's name is no language.
    #[error("texts: {path}: expected a language for a name, such as br.ftl or oc.ftl")]
    NoLanguage {
        /// Which.
        path: String,
    },
    /// A file is not in Fluent's language, or has a text twice.
    #[error("texts: {path}: {why}; expected Fluent, such as `close = Close this message`")]
    Malformed {
        /// Which.
        path: String,
        /// What and where.
        why: String,
    },
    /// A text has a name that nothing asks for.
    #[error("texts: {path}: {id}: expected the name of a text that is built in")]
    Unknown {
        /// Which file.
        path: String,
        /// Which text.
        id: String,
    },
    /// A text can't be put together.
    #[error("texts: {path}: {id}: {why}; expected no references but to {expected}")]
    Unusable {
        /// Which file.
        path: String,
        /// Which text.
        id: String,
        /// What is wrong.
        why: String,
        /// What may be referred to.
        expected: String,
    },
    /// A file is too long, or there are too many.
    #[error("texts: {path}: expected at most {most}")]
    TooMuch {
        /// Which.
        path: String,
        /// The bound.
        most: String,
    },
}

/// All languages.
#[derive(Debug)]
pub struct Texts {
    languages: Vec<Language>,
}

/// One language.
pub struct Language {
    tag: LanguageIdentifier,
    name: String,
    bundle: FluentBundle<Arc<FluentResource>>,
}

impl std::fmt::Debug for Language {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Language({})", self.name)
    }
}

impl Texts {
    /// The languages that are built in and, where there is a directory, those of its files: `br.ftl` is Breton, and
    /// what an `fr.ftl` there has takes the place of what is built in. What a file lacks is said in French.
    ///
    /// # Errors
    /// Where a file can't be read or is not right, with its name and what was expected.
    pub fn new(directory: Option<&Path>) -> Result<Self, TextsError> {
        let mut texts = Self {
            languages: Vec::new(),
        };
        for (tag, text) in BUILT_IN {
            texts.add(&format!("{tag}.ftl"), tag, text)?;
        }
        for path in directory.map(files).transpose()?.unwrap_or_default() {
            let text = read(&path)?;
            let tag = path.file_stem().unwrap_or_default().to_string_lossy();
            texts.add(&path.display().to_string(), &tag, &text)?;
        }
        for language in &mut texts.languages {
            let name = language.text("language-name", &FluentArgs::new());
            language.name = match name {
                Some((name, _)) => name,
                None => language.tag.to_string(),
            };
        }
        Ok(texts)
    }

    fn add(&mut self, path: &str, tag: &str, text: &str) -> Result<(), TextsError> {
        let tag: LanguageIdentifier = tag.parse().map_err(|_| TextsError::NoLanguage {
            path: path.to_owned(),
        })?;
        let resource = Arc::new(resource(path, text)?);
        if let Some(first) = self.languages.first() {
            first.check(path, &tag, text, &resource)?;
        }
        let count = self.languages.len();
        let known = self.languages.iter_mut().find(|known| known.tag == tag);
        match known {
            Some(known) => known.bundle.add_resource_overriding(resource),
            None if count < MAX_LANGUAGES => {
                let mut bundle = bundle(&tag);
                bundle.add_resource_overriding(resource);
                let name = String::new();
                self.languages.push(Language { tag, name, bundle });
            }
            None => return Err(too_many(path)),
        }
        Ok(())
    }

    /// The language that somebody is spoken to in: the one that they chose, or the first of theirs that is known
    /// (as they are ordered in Accept-Language), or the first of all.
    pub fn choose(&self, chosen: Option<&str>, accepted: &str) -> &Language {
        let chosen = chosen.into_iter().filter_map(|tag| tag.parse().ok());
        let accepted = match accepted.len() {
            ..=MAX_ACCEPTED_BYTES => accepted,
            _ => accepted.get(..MAX_ACCEPTED_BYTES).unwrap_or_default(),
        };
        let accepted = parse_accepted_languages(accepted);
        let wanted: Vec<LanguageIdentifier> = chosen.chain(accepted).collect();
        let known: Vec<&LanguageIdentifier> = self.languages.iter().map(|l| &l.tag).collect();
        let best = wanted.iter().find_map(|wanted| {
            let best = negotiate_languages(&[wanted], &known, None, NegotiationStrategy::Lookup);
            let best = best.first()?;
            self.languages.iter().find(|known| known.tag == ***best)
        });
        best.unwrap_or(&self.languages[0])
    }

    /// All of them, the first first.
    pub fn languages(&self) -> &[Language] {
        &self.languages
    }

    /// A text in a language or, where it lacks it, in the first.
    pub fn text(&self, language: &Language, id: &str, args: &FluentArgs<'_>) -> String {
        #[cfg(test)]
        USED.with_borrow_mut(|used| used.insert(id.to_owned()));
        let found = [language, &self.languages[0]]
            .into_iter()
            .find_map(|l| l.text(id, args));
        let (text, errors) = found.unwrap_or_default();
        debug_assert!(errors.is_empty(), "{id}: {errors:?}");
        text
    }
}

impl Language {
    /// Its tag, such as `fr`.
    pub fn tag(&self) -> String {
        self.tag.to_string()
    }

    /// What it calls itself.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is written from right to left.
    pub fn is_rtl(&self) -> bool {
        self.tag.character_direction() == CharacterDirection::RTL
    }

    fn text(&self, id: &str, args: &FluentArgs<'_>) -> Option<(String, Vec<FluentError>)> {
        let pattern = self.bundle.get_message(id)?.value()?;
        let mut errors = Vec::new();
        let text = self
            .bundle
            .format_pattern(pattern, Some(args), &mut errors)
            .into_owned();
        Some((text, errors))
    }

    /// Whether each text of another file is one of these, and can be put together from what these are given.
    fn check(
        &self,
        path: &str,
        tag: &LanguageIdentifier,
        text: &str,
        resource: &Arc<FluentResource>,
    ) -> Result<(), TextsError> {
        let mut tried = bundle(tag);
        tried
            .add_resource(Arc::clone(resource))
            .map_err(|errors| TextsError::Malformed {
                path: path.to_owned(),
                why: errors.first().map_or_else(String::new, ToString::to_string),
            })?;
        let (name, tag) = (String::new(), tag.clone());
        let tried = Self {
            tag,
            name,
            bundle: tried,
        };
        for id in ids(text) {
            let Some((_, errors)) = self.text(id, &FluentArgs::new()) else {
                let (path, id) = (path.to_owned(), id.to_owned());
                return Err(TextsError::Unknown { path, id });
            };
            // The portal's name is given to all of them.
            let mut given: BTreeSet<String> = errors.into_iter().filter_map(variable).collect();
            given.insert("service".to_owned());
            let unusable = |why| TextsError::Unusable {
                path: path.to_owned(),
                id: id.to_owned(),
                why,
                expected: given
                    .iter()
                    .map(|name| format!("${name}"))
                    .collect::<Vec<_>>()
                    .join(", "),
            };
            for count in TRIED {
                let args: FluentArgs<'_> = given
                    .iter()
                    .map(|name| (name.as_str(), FluentValue::from(count)))
                    .collect();
                let (_, errors) = tried
                    .text(id, &args)
                    .ok_or_else(|| unusable("it says nothing".into()))?;
                if let Some(error) = errors.first() {
                    return Err(unusable(match error {
                        FluentError::ResolverError(error) => error.to_string(),
                        error => error.to_string(),
                    }));
                }
            }
        }
        Ok(())
    }
}

/// The name of what was referred to and not given.
fn variable(error: FluentError) -> Option<String> {
    match error {
        FluentError::ResolverError(ResolverError::Reference(ReferenceKind::Variable { id })) => {
            Some(id)
        }
        _ => None,
    }
}

/// The names of the texts of a file: what its lines begin with.
pub fn ids(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .filter(|line| line.starts_with(|c: char| c.is_ascii_alphabetic()))
        .filter_map(|line| Some(line.split_once('=')?.0.trim_end()))
}

fn bundle(tag: &LanguageIdentifier) -> FluentBundle<Arc<FluentResource>> {
    let mut bundle = FluentBundle::new_concurrent(vec![tag.clone()]);
    // What is put in is words and numbers; marks for mixed directions would show in page titles.
    bundle.set_use_isolating(false);
    bundle
}

/// The files of a directory, in the order of their names.
fn files(directory: &Path) -> Result<BTreeSet<PathBuf>, TextsError> {
    let unreadable = |why| TextsError::Unreadable {
        path: directory.display().to_string(),
        why,
    };
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(directory).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|ending| ending == "ftl") {
            found.insert(path);
        }
        if found.len() > MAX_LANGUAGES {
            return Err(too_many(&directory.display().to_string()));
        }
    }
    Ok(found)
}

fn read(path: &Path) -> Result<String, TextsError> {
    let mut text = String::new();
    let file = std::fs::File::open(path);
    file.and_then(|file| file.take(MAX_BYTES + 1).read_to_string(&mut text))
        .map_err(|why| TextsError::Unreadable {
            path: path.display().to_string(),
            why,
        })?;
    if text.len() as u64 > MAX_BYTES {
        let (path, most) = (path.display().to_string(), format!("{MAX_BYTES} bytes"));
        return Err(TextsError::TooMuch { path, most });
    }
    Ok(text)
}

fn too_many(path: &str) -> TextsError {
    TextsError::TooMuch {
        path: path.to_owned(),
        most: format!("{MAX_LANGUAGES} languages"),
    }
}

fn resource(path: &str, text: &str) -> Result<FluentResource, TextsError> {
    FluentResource::try_new(text.to_owned()).map_err(|(_, errors)| TextsError::Malformed {
        path: path.to_owned(),
        why: errors.first().map_or_else(String::new, |error| {
            let before = text.get(..error.pos.start).unwrap_or(text);
            format!("line {}: {error}", before.matches('\n').count() + 1)
        }),
    })
}

#[cfg(test)]
thread_local! {
    /// What has been said, so that a test finds what nobody says.
    pub static USED: std::cell::RefCell<BTreeSet<String>> = const { std::cell::RefCell::new(BTreeSet::new()) };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(files: &[(&str, &str)]) -> Result<Texts, String> {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(directory.path().join(name), text).unwrap();
        }
        Texts::new(Some(directory.path())).map_err(|error| {
            error
                .to_string()
                .replace(&directory.path().display().to_string(), "")
        })
    }

    fn say(texts: &Texts, tag: &str, id: &str) -> String {
        texts.text(texts.choose(Some(tag), ""), id, &FluentArgs::new())
    }

    #[test]
    fn the_language_is_the_chosen_one_or_the_first_that_is_accepted() {
        let texts = with(&[
            ("br.ftl", "close = Serriñ"),
            ("pt-BR.ftl", "close = Fechar"),
        ])
        .unwrap();
        let tag = |chosen, accepted| texts.choose(chosen, accepted).tag();
        assert_eq!(tag(None, ""), "fr");
        assert_eq!(tag(None, "de, *;q=0.5"), "fr");
        assert_eq!(tag(None, "en-GB,en;q=0.9,fr;q=0.8"), "en");
        assert_eq!(tag(None, "de-DE,de;q=0.9,br;q=0.8,en;q=0.7"), "br");
        assert_eq!(tag(None, "fr-FR,en"), "fr");
        assert_eq!(tag(Some("en"), "fr"), "en");
        assert_eq!(tag(Some("en-US"), "fr"), "en");
        assert_eq!(tag(Some("xx"), "en"), "en");
        assert_eq!(tag(Some("\"><script>"), "pt-BR"), "pt-BR");
        assert_eq!(tag(None, &"é,".repeat(10_000)), "fr");
    }

    #[test]
    fn a_directory_adds_languages_and_replaces_words() {
        let texts = with(&[
            ("br.ftl", "language-name = Brezhoneg\nclose = Serriñ"),
            ("fr.ftl", "close = Masquer"),
            ("read me.txt", "no language"),
        ])
        .unwrap();
        assert_eq!(say(&texts, "br", "close"), "Serriñ");
        assert_eq!(say(&texts, "fr", "close"), "Masquer");
        assert_eq!(say(&texts, "en", "close"), "Close this message");
        let names: Vec<&str> = texts.languages().iter().map(Language::name).collect();
        assert_eq!(names, ["Français", "English", "Brezhoneg"]);
        // What a language lacks is said in the first.
        assert_eq!(say(&texts, "br", "my-session"), "Ma session");
    }

    #[test]
    fn errors_name_the_file_and_what_was_expected() {
        let error = |name: &str, text: &str| with(&[(name, text)]).unwrap_err();
        assert_eq!(
            error("klingon speakers.ftl", ""),
            "texts: /klingon speakers.ftl: expected a language for a name, such as br.ftl or oc.ftl"
        );
        let malformed = error("br.ftl", "close = Serriñ\nleft = { $time\n");
        assert!(
            malformed.starts_with("texts: /br.ftl: line 3: "),
            "{malformed}"
        );
        let twice = error("br.ftl", "close = a\nclose = b\n");
        assert!(
            twice.starts_with("texts: /br.ftl: ") && twice.contains("close"),
            "{twice}"
        );
        assert_eq!(
            error("br.ftl", "shut = Serriñ"),
            "texts: /br.ftl: shut: expected the name of a text that is built in"
        );
        assert_eq!(
            error("br.ftl", "left = { $time } { $servise }"),
            "texts: /br.ftl: left: Unknown variable: $servise; expected no references but to $service, $time"
        );
        // Only where there are many.
        let hidden = "place = { $ahead ->\n [one] den\n [two] { $x }\n *[other] { $shown }\n }";
        assert!(error("br.ftl", hidden).contains("$x"));
        assert_eq!(
            error("br.ftl", &"# long\n".repeat(40_000)),
            "texts: /br.ftl: expected at most 262144 bytes"
        );
        let absent = Texts::new(Some(Path::new("/absent")))
            .unwrap_err()
            .to_string();
        assert!(absent.starts_with("texts: /absent: "), "{absent}");
        let many: Vec<String> = (0..40)
            .map(|n| {
                format!(
                    "a{}.ftl",
                    char::from(b'a' + n % 26).to_string() + if n > 25 { "a" } else { "" }
                )
            })
            .collect();
        let many: Vec<(&str, &str)> = many.iter().map(|name| (name.as_str(), "")).collect();
        assert_eq!(
            with(&many).unwrap_err(),
            "texts: : expected at most 32 languages"
        );
    }

    #[test]
    fn french_and_english_have_the_same_texts() {
        let [(_, fr), (_, en)] = BUILT_IN;
        let (fr, en): (BTreeSet<_>, BTreeSet<_>) = (ids(fr).collect(), ids(en).collect());
        assert_eq!(fr, en);
    }

    #[test]
    fn french_is_set_as_french_is() {
        for (number, line) in BUILT_IN[0].1.lines().enumerate() {
            let text = line.trim_start_matches(|c: char| c.is_ascii_alphabetic() || c == '-');
            for wrong in [" :", " ;", " ?", " !", " »", "« ", "'", "\u{202f}", "..."] {
                assert!(
                    !text.contains(wrong),
                    "line {}: `{wrong}` in {line}",
                    number + 1
                );
            }
            let marks = text.char_indices().filter(|(_, c)| ":;?!»".contains(*c));
            for (at, mark) in marks {
                let before = text[..at].chars().next_back();
                assert_eq!(
                    before,
                    Some('\u{a0}'),
                    "line {}: before {mark} in {line}",
                    number + 1
                );
            }
        }
        let mut english = BUILT_IN[1].1.lines().filter(|line| !line.starts_with('#'));
        assert!(english.all(|line| !line.contains('\'')));
    }
}
