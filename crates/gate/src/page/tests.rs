use std::collections::BTreeSet;

use proptest::prelude::*;
use quota::Wait;

use super::*;

#[path = "../../examples/variants/views.rs"]
mod views;

/// What any page may weigh.
const MOST_BYTES: usize = 30_000;
const TO: &str = "/cours?classe=3%C2%B0B&page=2";

fn config() -> PageConfig {
    let links = [
        ("Lumni", "https://example.org/?a=1&b=2"),
        ("Règlement", "/reglement"),
    ];
    PageConfig {
        service: "l’ENT".into(),
        zone: "Europe/Paris".into(),
        links: links
            .map(|(text, url)| Link {
                text: text.into(),
                url: url.into(),
            })
            .into(),
        texts: None,
        silence_s: 120,
    }
}

fn page() -> Page {
    Page::new(config()).unwrap()
}

fn words(name: &str, language: &str) -> Words {
    let (page, mut views) = (page(), views::views().into_iter());
    let (_, view) = views.find(|(known, _)| *known == name).unwrap();
    page.words(&view, page.language(Some(language), ""))
}

#[test]
fn every_page_is_whole_small_and_needs_nothing_else() {
    let page = page();
    let shown: BTreeSet<&str> = views::views()
        .iter()
        .map(|(_, view)| view.state.name())
        .collect();
    assert_eq!(shown.len(), State::ALL.len());
    for language in page.languages() {
        for (name, view) in views::views() {
            let html = page.html(&view, language, TO);
            let what = format!("{name} in {language:?}");
            assert!(html.len() < MOST_BYTES, "{what}: {} bytes", html.len());
            assert!(html.ends_with("</html>"), "{what}");
            assert!(
                html.contains(&format!("<html lang=\"{}\">", language.tag())),
                "{what}"
            );
            for unwanted in [
                " style=", "@import", "url(", "{ $", "{$", " src=", "<link", "onclick",
            ] {
                assert!(!html.contains(unwanted), "{what}: {unwanted}");
            }
            assert_eq!(html.contains("<script>"), view.ask_in_s.is_some(), "{what}");
            assert_eq!(
                html.contains("http-equiv"),
                view.ask_in_s.is_some(),
                "{what}"
            );
            let words = page.words(&view, language);
            for words in [&words.title, &words.what, &words.tab, &words.asked] {
                assert!(!words.is_empty(), "{what}");
            }
        }
    }
}

#[test]
fn every_text_is_said_somewhere() {
    let page = page();
    texts::USED.with_borrow_mut(BTreeSet::clear);
    for (_, view) in views::views() {
        page.html(&view, page.language(None, ""), TO);
    }
    let mut used = texts::USED.with_borrow(Clone::clone);
    used.insert("language-name".to_owned());
    let there: BTreeSet<String> = texts::ids(include_str!("../../texts/fr.ftl"))
        .map(str::to_owned)
        .collect();
    assert_eq!(used, there);
}

#[test]
fn the_policy_allows_what_stands_in_the_page() {
    let page = page();
    let html = page.html(&views::views()[0].1, page.language(None, ""), TO);
    let csp = page.csp();
    let csp = csp.to_str().unwrap();
    for (tag, source) in [("style", "style-src"), ("script", "script-src")] {
        let (_, rest) = html.split_once(&format!("<{tag}>")).unwrap();
        let (text, _) = rest.split_once(&format!("</{tag}>")).unwrap();
        let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
        use base64::Engine as _;
        let hash = base64::engine::general_purpose::STANDARD.encode(digest);
        assert!(csp.contains(&format!("{source} 'sha256-{hash}'")), "{csp}");
        assert!(text.len() > 1_000 && !text.contains("</"), "{tag}");
    }
    assert!(SESSION_JS.len() < 4_000, "{}", SESSION_JS.len());
}

#[test]
fn people_read_how_they_stand() {
    let waiting = words("waiting", "fr");
    assert_eq!(
        waiting.place,
        "1\u{a0}340\u{a0}personnes sont devant vous à cette entrée."
    );
    assert_eq!(
        waiting.wait,
        "Attente estimée\u{a0}: entre 6 et 11\u{a0}minutes."
    );
    assert_eq!(waiting.tab, "1\u{a0}340\u{a0}devant vous\u{a0}– l’ENT");
    assert_eq!(
        words("waiting-first", "fr").place,
        "Vous êtes parmi les premiers à cette entrée."
    );
    assert_eq!(
        words("waiting-first", "fr").wait,
        "Attente estimée\u{a0}: moins d’une minute."
    );
    assert_eq!(
        words("waiting-one", "en").place,
        "One person is ahead of you at this entrance."
    );
    assert_eq!(
        words("waiting-soon", "fr").wait,
        "Attente estimée\u{a0}: moins de 3\u{a0}minutes."
    );
    let long = words("waiting-long", "fr").wait;
    assert_eq!(
        long,
        "Attente estimée\u{a0}: entre une heure et 2\u{a0}h\u{a0}15."
    );
    assert_eq!(
        words("waiting-long", "en").place,
        "28,412\u{a0}people are ahead of you at this entrance."
    );
    assert_eq!(
        words("waiting-hour", "en").wait,
        "Estimated wait: about one hour."
    );
    assert_eq!(
        words("waiting-day", "en").wait,
        "Estimated wait: more than 13\u{a0}hours."
    );
    assert_eq!(words("ending", "fr").left, "Il vous reste 2\u{a0}minutes.");
    assert_eq!(
        words("ending-now", "en").left,
        "You have 40\u{a0}seconds left."
    );
    assert_eq!(
        words("ending-last", "fr").left,
        "Il vous reste quelques secondes."
    );
    assert_eq!(
        words("seated-long", "fr").left,
        "Il vous reste 2\u{a0}h\u{a0}05."
    );
    assert_eq!(
        words("seated-free", "fr").left,
        "Aucune heure de fin n’est prévue."
    );
    assert_eq!(words("before", "fr").place, "");
    let opens = "Ouverture prévue le 18 mai à 5\u{a0}h\u{a0}33.";
    assert_eq!(words("before-days", "fr").wait, opens);
    assert_eq!(
        words("before-days", "en").wait,
        "Expected to open on 18\u{a0}May at 5:33."
    );
    let resumes = words("paused", "fr").wait;
    assert!(resumes.starts_with("Reprise prévue à "), "{resumes}");
    let asked = words("waiting", "en").asked;
    assert!(
        asked.starts_with("Last updated at ") && asked.len() == 24,
        "{asked}"
    );
    let lost = words("lost", "fr").what;
    assert!(lost.ends_with("pendant 2\u{a0}minutes."), "{lost}");
}

#[test]
fn what_is_said_of_closing_the_page_is_true() {
    let page = |silence_s| {
        let config = PageConfig {
            silence_s,
            ..config()
        };
        Page::new(config).unwrap()
    };
    let told = |page: &Page, ask_in_s| {
        let view = View {
            ask_in_s: Some(ask_in_s),
            ..View::of(State::Waiting)
        };
        let html = page.html(&view, page.language(Some("en"), ""), TO);
        let (_, rest) = html.split_once("your place is kept for ").unwrap();
        rest.split_once('.').unwrap().0.replace('\u{a0}', " ")
    };
    let of = |silence_s| told(&page(silence_s), 3);
    let said = [30, 120, 600, 3_600].map(of);
    assert_eq!(
        said,
        ["10 seconds", "one minute", "5 minutes", "30 minutes"]
    );
    for silence_s in 30..=3_600 {
        let page = page(silence_s);
        let longest = longest_s(silence_s);
        let said = told(&page, 2);
        assert_eq!(said, told(&page, longest), "however soon it asks");
        let number = said.split(' ').next().unwrap().replace("one", "1");
        let each = if said.contains("minute") { 60 } else { 1 };
        let said_s = number.parse::<u32>().unwrap() * each;
        // As long as that after any sign but the last, which is as old as the longest pause.
        assert!(longest + said_s <= silence_s, "{silence_s}: {said}");
    }
}

#[test]
fn the_page_moves_on_where_there_is_something_to_move_to() {
    let page = page();
    let html = |state| {
        let view = View {
            ask_in_s: Some(4),
            ..View::of(state)
        };
        page.html(&view, page.language(Some("en"), ""), TO)
    };
    let to = "/cours?classe=3%C2%B0B&#38;page=2";
    for state in State::ALL {
        let html = html(state);
        assert_eq!(
            html.contains(&format!("data-to=\"{to}\"")),
            !state.is_in(),
            "{state:?}"
        );
        assert_eq!(html.contains("look=1"), state.is_in(), "{state:?}");
        assert_eq!(
            html.contains(&format!("class=\"button\" href=\"{to}\"")),
            state.is_in() || state == State::NoCookies,
            "{state:?}"
        );
        let again = matches!(state, State::Lost | State::Over);
        assert_eq!(html.contains("action=\"/preau/again\""), again, "{state:?}");
        assert_eq!(
            html.contains(&format!("name=\"to\" value=\"{to}\"")),
            again,
            "{state:?}"
        );
    }
    assert!(html(State::Waiting).contains("content=\"10\""));
    let in_french = "/preau/enter?to=%2Fcours%3Fclasse%3D3%25C2%25B0B%26page%3D2&#38;lang=fr";
    assert!(html(State::Waiting).contains(in_french));
    assert!(html(State::Over).contains("/preau/session?left=over&#38;to=%2Fcours"));
}

#[test]
fn errors_say_what_was_expected() {
    let error = |config| Page::new(config).unwrap_err().to_string();
    assert_eq!(
        error(PageConfig {
            zone: "Europe/Rouen".into(),
            ..config()
        }),
        "page.zone: \"Europe/Rouen\": expected a time zone of the IANA's, such as \"Europe/Paris\""
    );
    let links = vec![Link {
        text: "a".into(),
        url: "javascript:alert(1)".into(),
    }];
    assert_eq!(
        error(PageConfig { links, ..config() }),
        "page.links.url: \"javascript:alert(1)\": expected https://, http://, or a path on the portal's host"
    );
    let texts = Some("/absent".into());
    assert!(error(PageConfig { texts, ..config() }).starts_with("texts: /absent: "));
}

/// Text as somebody might give it who means no good.
fn hostile() -> impl Strategy<Value = String> {
    let parts = prop::sample::select(vec![
        "<script>alert(1)</script>",
        "</title>",
        "\"",
        "'",
        "&",
        "<",
        ">",
        "{ $service }",
        "{",
        "}",
        "é",
        "a",
        " ",
        "\u{202e}",
        "-->",
        "</main>",
    ]);
    prop::collection::vec(parts, 1..12).prop_map(|parts| parts.concat())
}

/// The elements of a page and their attributes' names, without what they hold.
fn skeleton(html: &str) -> Vec<String> {
    let tag = |part: &str| {
        let tag = part.split_once('>').map_or(part, |(tag, _)| tag);
        tag.split('"').step_by(2).collect::<Vec<_>>().join("\"\"")
    };
    html.split('<').skip(1).map(tag).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn nothing_that_is_put_in_is_taken_for_markup(
        service in hostile(), reason in hostile(), text in hostile(), to in hostile(), which in 0usize..29,
    ) {
        let (_, view) = views::views().remove(which);
        let render = |service: &str, reason: &str, text: &str, to: &str| {
            let links = vec![Link { text: text.into(), url: format!("https://example.org/{text}") }];
            let page = Page::new(PageConfig { service: service.into(), links, ..config() }).unwrap();
            let view = View { reason: reason.into(), ..view.clone() };
            page.html(&view, page.language(None, ""), to)
        };
        let html = render(&service, &reason, &text, &format!("/{to}"));
        let plain = render("a", if reason.trim().is_empty() { "" } else { "a" }, "a", "/a");
        prop_assert_eq!(skeleton(&html), skeleton(&plain));
        prop_assert!(html.len() < MOST_BYTES);
    }

    #[test]
    fn any_wait_has_words(p50_s: u32, more in 0u32..100_000, seconds: u32) {
        let page = page();
        let wait = Wait { p50_s, p90_s: p50_s.saturating_add(more) };
        words::check(wait);
        for language in page.languages() {
            let view = View { wait: Some(wait), ahead: Some(seconds.into()), ..View::of(State::Waiting) };
            let words = page.words(&view, language);
            prop_assert!(!words.wait.is_empty() && !words.place.is_empty());
            let view = View { left_s: Some(seconds), ..View::of(State::Ending) };
            prop_assert!(!page.words(&view, language).left.is_empty());
        }
    }
}
