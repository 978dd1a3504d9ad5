//! What people read, in their language. French and English are built in; a directory of Fluent files adds others,
//! or other words.

use std::collections::BTreeMap;
use std::path::Path;

use fluent_bundle::concurrent::FluentBundle;
use fluent_bundle::{FluentArgs, FluentResource, FluentValue};
use fluent_langneg::{NegotiationStrategy, negotiate_languages, parse_accepted_languages};
use unic_langid::LanguageIdentifier;

/// The first is what is spoken where nothing else is asked for, and what stands in for what others lack.
const BUILT_IN: [(&str, &str); 2] = [
    ("fr", include_str!("../texts/fr.ftl")),
    ("en", include_str!("../texts/en.ftl")),
];
/// Longest file of texts, in bytes.
const MAX_BYTES: u64 = 256 << 10;
/// Most languages.
pub const MAX_LANGUAGES: usize = 32;

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
    /// A file's name is no language, such as `br.ftl`.
    #[error("texts: {path}: expected a language for a name, such as br.ftl or oc.ftl")]
    NoLanguage {
        /// Which.
        path: String,
    },
    /// A file is not in Fluent's language, or has a text twice.
    #[error("texts: {path}: {why}")]
    Malformed {
        /// Which.
        path: String,
        /// What and where.
        why: String,
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
pub struct Texts {
    languages: Vec<Language>,
}

/// One language.
pub struct Language {
    tag: LanguageIdentifier,
    bundle: FluentBundle<FluentResource>,
}

impl Texts {
    /// The languages that are built in and, where there is a directory, those of its files: `br.ftl` is Breton, and
    /// what an `fr.ftl` there has takes the place of what is built in.
    ///
    /// # Errors
    /// Where a file can't be read or is not right, with its name and what was expected.
    pub fn new(directory: Option<&Path>) -> Result<Self, TextsError> {
        let mut sources: Vec<(LanguageIdentifier, Vec<FluentResource>)> = Vec::new();
        for (tag, text) in BUILT_IN {
            let path = format!("{tag}.ftl");
            sources.push((language(&path, tag)?, vec![resource(&path, text.to_owned())?]));
        }
        for (path, tag, text) in directory.map(files).transpose()?.unwrap_or_default() {
            let (tag, text) = (language(&path, &tag)?, resource(&path, text)?);
            match sources.iter_mut().find(|(known, _)| *known == tag) {
                Some((_, texts)) => texts.push(text),
                None => sources.push((tag, vec![text])),
            }
        }
        if sources.len() > MAX_LANGUAGES {
            return Err(TextsError::TooMuch {
                path: format!("{} languages", sources.len()),
                most: MAX_LANGUAGES.to_string(),
            });
        }
        let languages = sources.into_iter().map(|(tag, texts)| {
            let mut bundle = FluentBundle::new_concurrent(vec![tag.clone()]);
            // What is put in is words and numbers; marks for mixed directions would show in page titles.
            bundle.set_use_isolating(false);
            for text in texts {
                bundle.add_resource_overriding(text);
            }
            Language { tag, bundle }
        });
        Ok(Self {
            languages: languages.collect(),
        })
    }

    /// The language that somebody is spoken to in: the one that they chose, or the one of theirs that is known and
    /// comes first (RFC 9110, Accept-Language), or the first of all.
    pub fn choose(&self, chosen: Option<&str>, accepted: &str) -> &Language {
        let chosen = chosen.and_then(|tag| tag.parse::<LanguageIdentifier>().ok());
        let chosen = chosen.and_then(|tag| self.languages.iter().find(|known| known.tag == tag));
        chosen.unwrap_or_else(|| {
            let wanted = parse_accepted_languages(accepted);
            let known: Vec<&LanguageIdentifier> = self.languages.iter().map(|l| &l.tag).collect();
            let best = negotiate_languages(&wanted, &known, None, NegotiationStrategy::Lookup);
            let best = best.first().and_then(|best| self.languages.iter().find(|l| l.tag == ***best));
            best.unwrap_or(&self.languages[0])
        })
    }

    /// All of them, the first first.
    pub fn languages(&self) -> impl Iterator<Item = &Language> {
        self.languages.iter()
    }

    /// A text in a language or, where it lacks it, in the first.
    pub fn text(&self, language: &Language, id: &str, args: &[(&str, FluentValue<'_>)]) -> String {
        let args: FluentArgs<'_> = args.iter().cloned().collect();
        let found = [language, &self.languages[0]].into_iter().find_map(|l| l.text(id, &args));
        found.unwrap_or_default()
    }
}

impl Language {
    /// Its tag, such as `fr`.
    pub fn tag(&self) -> String {
        self.tag.to_string()
    }

    fn text(&self, id: &str, args: &FluentArgs<'_>) -> Option<String> {
        let pattern = self.bundle.get_message(id)?.value()?;
        Some(self.bundle.format_pattern(pattern, Some(args), &mut Vec::new()).into_owned())
    }
}

/// The files of a directory by name: path, language and text.
fn files(directory: &Path) -> Result<Vec<(String, String, String)>, TextsError> {
    let unreadable = |path: &Path, why| TextsError::Unreadable {
        path: path.display().to_string(),
        why,
    };
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(directory).map_err(|why| unreadable(directory, why))? {
        let path = entry.map_err(|why| unreadable(directory, why))?.path();
        if path.extension().is_none_or(|ending| ending != "ftl") {
            continue;
        }
        let bytes = std::fs::metadata(&path).map_err(|why| unreadable(&path, why))?.len();
        if bytes > MAX_BYTES {
            return Err(TextsError::TooMuch {
                path: path.display().to_string(),
                most: format!("{MAX_BYTES} bytes"),
            });
        }
        let text = std::fs::read_to_string(&path).map_err(|why| unreadable(&path, why))?;
        let tag = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        found.insert(path.display().to_string(), (tag, text));
    }
    Ok(found.into_iter().map(|(path, (tag, text))| (path, tag, text)).collect())
}

fn language(path: &str, tag: &str) -> Result<LanguageIdentifier, TextsError> {
    tag.parse().map_err(|_| TextsError::NoLanguage { path: path.to_owned() })
}

fn resource(path: &str, text: String) -> Result<FluentResource, TextsError> {
    FluentResource::try_new(text).map_err(|(_, errors)| TextsError::Malformed {
        path: path.to_owned(),
        why: errors.first().map_or_else(String::new, ToString::to_string),
    })
}
