//! Writes the page as it can look, in all languages, into a directory: to be looked at, and for the tests in a
//! browser. Beside each page its policy stands in `csp.txt`.
//!
//! ```sh
//! cargo run -p gate --example variants -- DIRECTORY [TEXTS]
//! ```

use std::path::{Path, PathBuf};

use gate::page::{Link, Page, PageConfig};
use gate::view::{State, View};

mod views;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    write(
        &arguments.next().ok_or("expected a directory")?,
        arguments.next(),
    )
}

/// Writes the pages.
pub fn write(directory: &Path, texts: Option<PathBuf>) -> Result<(), Box<dyn std::error::Error>> {
    let page = Page::new(PageConfig {
        service: "Mon ENT".into(),
        zone: "Europe/Paris".into(),
        links: [
            (
                "Cahier de textes de la semaine (PDF)",
                "https://example.org/cahier",
            ),
            ("Des cours en vidéo", "https://example.org/videos"),
        ]
        .map(|(text, url)| Link {
            text: text.into(),
            url: url.into(),
        })
        .into(),
        texts,
        silence_s: 120,
    })?;
    std::fs::create_dir_all(directory)?;
    std::fs::write(directory.join("csp.txt"), page.csp().as_bytes())?;
    for language in page.languages() {
        for (name, view) in views::views() {
            let html = page.html(&view, language, "/cours?classe=3%C2%B0B&page=2");
            std::fs::write(
                directory.join(format!("{name}.{}.html", language.tag())),
                html,
            )?;
        }
    }
    Ok(())
}
