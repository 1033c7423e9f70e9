//! Bodies that look nearly as those before them: what is expected must not show in what is found.

use super::super::NESTING_MAX;
use super::super::json::document::Document;
use super::super::json::scan::{Refused, Scan};
use super::super::json::span::Span;
use proptest::prelude::*;
use serde::de::IgnoredAny;

/// All that is known of a body.
fn listed(scan: &mut Scan, body: &str) -> Result<Vec<String>, Refused> {
    scan.fill(body)?;
    let document = Document::new(body, scan);
    let mut found = vec![format!("{}", document.has_lines())];
    list(&document, 0, (0, 0), &mut found);
    Ok(found)
}

/// All that is known of a value; positions and places count from `first` and `start`.
fn list(document: &Document<'_>, at: usize, from: (usize, u32), found: &mut Vec<String>) {
    let (first, start) = from;
    let Span { start: begin, end } = document.span(at);
    let (node, begin, end) = (at - first, begin - start, end - start);
    found.push(format!("{node} {begin}..{end} {:?}", document.string(at)));
    for element in document.elements(at) {
        list(document, element, from, found);
    }
    for member in document.members(at) {
        let raw = String::from_utf8_lossy(document.raw_name(member));
        let name = document.name(member);
        found.push(format!("{:?} {raw} {name:?}", member.name));
        list(document, member.at, from, found);
    }
}

/// A text of values, parted into tokens, so that an edit mostly leaves JSON.
fn value(depth: u32) -> BoxedStrategy<Vec<String>> {
    let texts = [
        "1",
        "-2.5e+3",
        "0",
        "true",
        "false",
        "null",
        "\"\"",
        "\"a\"",
        "\"delivered\"",
        "\"15550100042\"",
        "\"caf\\u00e9 \\\\ \\\"\"",
        "\"a text of more than sixteen bytes, with, {all} [kinds]: of marks\"",
        "{}",
        "[]",
        " 1",
        "\n\"x\"",
    ];
    let scalar = prop::sample::select(texts.to_vec()).prop_map(|text| vec![text.to_owned()]);
    if depth == 0 {
        return scalar.boxed();
    }
    let names = [
        "\"id\":",
        "\"status\":",
        "\"type\":",
        "\"timestamp\":",
        "\"recipient_id\":",
        "\"x\":",
        "\"i\\u0064\":",
        "\"q\\\"\":",
        "\"id\" :",
        "\"id\": ",
        "\"a name of more than sixteen bytes\":",
        "\"\":",
        "\"statuses\":",
        "\"wa_id\":",
    ];
    let name = prop::sample::select(names.to_vec());
    let member = (name, value(depth - 1)).prop_map(|(name, value)| {
        let mut tokens = vec![name.to_owned()];
        tokens.extend(value);
        tokens
    });
    let joined = |open: &'static str, close: &'static str| {
        move |parts: Vec<Vec<String>>| {
            let mut tokens = vec![open.to_owned()];
            for (at, part) in parts.into_iter().enumerate() {
                tokens.extend((at > 0).then(|| ",".to_owned()));
                tokens.extend(part);
            }
            tokens.push(close.to_owned());
            tokens
        }
    };
    // An element that comes again, and elements that are anything.
    let alike = (value(depth - 1), 1..5usize).prop_map(|(value, count)| vec![value; count]);
    let any = prop::collection::vec(value(depth - 1), 0..4);
    prop_oneof![
        1 => scalar,
        4 => prop::collection::vec(member, 0..5).prop_map(joined("{", "}")),
        3 => prop_oneof![alike, any].prop_map(joined("[", "]")),
    ]
    .boxed()
}

/// What may stand instead of a token, or beside it.
const TOKENS: [&str; 20] = [
    "1",
    "22",
    "\"b\"",
    "\"another text that is longer\"",
    "\"\\n\"",
    "null",
    "{}",
    "[]",
    "[1]",
    "{\"id\":1}",
    "{",
    "}",
    "[",
    "]",
    ",",
    " ",
    "\n",
    "\"y\":",
    "\"",
    "\\",
];

/// A body, and others of which each has a few tokens more, less or other than the one before.
fn bodies() -> impl Strategy<Value = Vec<String>> {
    let edit = (
        any::<prop::sample::Index>(),
        prop::sample::select(TOKENS.to_vec()),
        0..4u8,
    );
    let edits = prop::collection::vec(prop::collection::vec(edit, 0..3), 1..8);
    let cut = prop::option::weighted(0.2, any::<prop::sample::Index>());
    (value(4), edits, cut).prop_map(|(first, edits, cut)| {
        let mut bodies = vec![first.concat(); 3];
        let mut tokens = first;
        for round in edits {
            for (place, token, how) in round {
                let at = place.index(tokens.len().max(1));
                match how {
                    0 if at < tokens.len() => tokens[at] = token.to_owned(),
                    1 if at < tokens.len() => drop(tokens.remove(at)),
                    2 => tokens.insert(at.min(tokens.len()), token.to_owned()),
                    // As it was, or twice.
                    _ if at < tokens.len() => tokens.insert(at, tokens[at].clone()),
                    _ => {}
                }
            }
            bodies.push(tokens.concat());
        }
        if let (Some(cut), Some(last)) = (cut, bodies.last_mut()) {
            let mut at = cut.index(last.len().max(1)).min(last.len());
            while !last.is_char_boundary(at) {
                at -= 1;
            }
            last.truncate(at);
        }
        bodies
    })
}

fn is_json(body: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(body).is_ok()
}

fn config() -> ProptestConfig {
    ProptestConfig {
        failure_persistence: None,
        cases: 1024,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    /// A scan that has met other bodies finds in a body what a new one finds.
    #[test]
    fn what_was_met_before_does_not_matter(bodies in bodies()) {
        let mut scan = Scan::default();
        // More than twice, so that each of the shapes is known once.
        for body in bodies.iter().cycle().take(3 * bodies.len()) {
            let found = listed(&mut scan, body);
            prop_assert_eq!(found.is_ok(), is_json(body), "{}", body);
            prop_assert_eq!(found, listed(&mut Scan::default(), body), "{}", body);
        }
    }

    /// An element of an array is what it is alone.
    #[test]
    fn nor_do_the_elements_before_it(elements in bodies()) {
        let elements: Vec<_> = elements.iter().filter(|it| is_json(it)).collect();
        let texts: Vec<_> = elements.iter().map(|it| it.trim_ascii()).collect();
        let body = format!("[{}]", texts.join(","));
        let mut scan = Scan::default();
        scan.fill(&body).unwrap();
        let document = Document::new(&body, &scan);
        let places: Vec<_> = document.elements(0).collect();
        prop_assert_eq!(places.len(), texts.len());
        for (at, text) in places.into_iter().zip(texts) {
            let mut found = vec!["false".to_owned()];
            list(&document, at, (at, document.span(at).start), &mut found);
            let mut alone = listed(&mut Scan::default(), text).unwrap();
            alone[0] = "false".to_owned();
            prop_assert_eq!(found, alone, "{}", body);
        }
    }
}

/// Each byte of a body of the platform is another one once, and the body ends before it.
#[test]
fn a_body_may_differ_anywhere() {
    let status = include_str!("../../rig/samples/status-delivered.json");
    let contact = r#"{"wa_id":"1","user_id":"US.1"}"#;
    let three = status.replace(
        r#""statuses":["#,
        r#""statuses":[{"id":1,"status":"sent"},{"id":2,"status":"sent"},"#,
    );
    let three = three.replace(
        r#""contacts":["#,
        &format!(r#""contacts":[{contact},{contact},{contact},"#),
    );
    let text = include_str!("../../rig/samples/text.json");
    let samples = [text, status, three.as_str()];
    for sample in samples {
        let mut scan = Scan::default();
        for _ in 0..3 {
            for sample in samples {
                scan.fill(sample).unwrap();
            }
        }
        let usual = listed(&mut scan, sample).unwrap();
        for at in 0..sample.len() {
            let mut others = vec![sample[..at].to_owned()];
            for other in [
                "\"", "\\", "{", "}", "[", "]", ":", ",", " ", "\n", "0", "t", "",
            ] {
                others.push(format!("{}{other}{}", &sample[..at], &sample[at + 1..]));
            }
            for other in others {
                let found = listed(&mut scan, &other);
                assert_eq!(found, listed(&mut Scan::default(), &other), "{other}");
                assert_eq!(listed(&mut scan, sample).as_ref(), Ok(&usual));
            }
        }
    }
}

#[test]
fn what_is_expected_has_the_limits_of_all() {
    let deep = |count: usize| format!("{}1{}", "[".repeat(count), "]".repeat(count));
    let whole = |inner: &str| format!(r#"{{"a":{inner}}}"#);
    let element = |inner: &str| format!(r#"[{{"a":1}},{{"a":1}},{{"a":{inner}}}]"#);
    for (shape, around) in [(&whole as &dyn Fn(&str) -> String, 1), (&element, 2)] {
        let mut scan = Scan::default();
        for _ in 0..3 {
            scan.fill(&shape("1")).unwrap();
        }
        let most = NESTING_MAX - around;
        assert_eq!(scan.fill(&shape(&deep(most))), Ok(()));
        scan.fill(&shape("1")).unwrap();
        assert_eq!(scan.fill(&shape(&deep(most + 1))), Err(Refused::TooDeep));
        assert_eq!(
            scan.fill(&shape(&"[".repeat(100_000))),
            Err(Refused::TooDeep)
        );
    }
}
