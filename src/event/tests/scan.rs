//! The scan of a body: it takes what is JSON, and finds what `serde_json` finds.

use super::super::json::document::Document;
use super::super::json::scan::{Refused, Scan};
use proptest::prelude::*;
use serde_json::Value;
use std::fmt::Write;

fn scanned(body: &str) -> Result<Scan, Refused> {
    let mut scan = Scan::default();
    scan.fill(body).map(|()| scan)
}

/// The value at a position, as `serde_json` has it.
fn value(document: &Document<'_>, at: usize) -> Value {
    let raw = std::str::from_utf8(document.raw(at)).unwrap();
    match raw.as_bytes()[0] {
        b'{' => {
            let name = |member| {
                document
                    .name(member)
                    .expect("a name is a string")
                    .to_owned()
            };
            let members = document.members(at);
            let members = members.map(|it| (name(it), value(document, it.at)));
            Value::Object(members.collect())
        }
        b'[' => document
            .elements(at)
            .map(|at| value(document, at))
            .collect(),
        b'"' => Value::from(document.string(at).expect("it is a string")),
        _ => serde_json::from_str(raw).unwrap(),
    }
}

#[test]
fn what_is_json_and_what_is_not() {
    for body in [
        "0",
        "-0",
        "-1.5e+3",
        "1E9",
        " [ ] ",
        "\t{\r\n}",
        "\"\"",
        "[1,{\"a\":[]},\"\u{7f}\"]",
        "1e400",
        "-123456789012345678901234567890",
        r#""\ud800""#,
        r#""\udc00\ud83d\ude00""#,
    ] {
        assert!(scanned(body).is_ok(), "{body:?}");
    }
    for body in [
        "",
        " ",
        "{",
        "[",
        "\"",
        "]",
        "}",
        ",",
        "[1,]",
        "[,1]",
        "[1 2]",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{1:1}",
        "{\"a\":1]",
        "[1}",
        "{\"a\":1}x",
        "[]]",
        "\u{feff}{}",
        "\"\u{1}\"",
        "\"\t\"",
        "01",
        "-",
        "+1",
        "1.",
        ".5",
        "1e",
        "1e+",
        "tru",
        "nulll",
        "True",
        r#""\x""#,
        r#""\u12g4""#,
        r#""\ud8""#,
        r#""\""#,
    ] {
        assert_eq!(scanned(body).err(), Some(Refused::NotJson), "{body:?}");
    }
}

#[test]
fn a_lone_surrogate_reads_as_a_replacement() {
    let body =
        r#"["\ud800","\udc00x","\ud83d\ude00","\ud800\ud83d\ude00","\ud800\u0041","\ud800\n"]"#;
    let scan = scanned(body).unwrap();
    let document = Document::new(body, &scan);
    let texts: Vec<_> = document
        .elements(0)
        .filter_map(|at| document.string(at))
        .collect();
    let expected = [
        "\u{fffd}",
        "\u{fffd}x",
        "\u{1f600}",
        "\u{fffd}\u{1f600}",
        "\u{fffd}A",
        "\u{fffd}\n",
    ];
    assert_eq!(texts, expected);
}

#[test]
fn line_ends_are_noted_between_tokens() {
    let has_lines = |body| scanned(body).unwrap().has_lines();
    assert!(has_lines("[1,\n2]") && has_lines("{\r}") && has_lines("{\"a\" :\n1}"));
    assert!(!has_lines("{\"a\\n\":\t[1, 2]}") && !has_lines("\n[]\r\n"));
}

/// Writes a value with escapes where none are needed.
fn escaped(value: &Value, out: &mut String, every: usize) {
    let text = |text: &str, out: &mut String| {
        out.push('"');
        for (at, unit) in text.encode_utf16().enumerate() {
            match char::from_u32(u32::from(unit)).filter(|_| at % every > 0) {
                Some(plain) if plain >= ' ' && !"\"\\".contains(plain) => out.push(plain),
                _ => write!(out, "\\u{unit:04x}").unwrap(),
            }
        }
        out.push('"');
    };
    match value {
        Value::Object(members) => {
            out.push('{');
            for (at, (name, value)) in members.iter().enumerate() {
                out.push_str(if at > 0 { " ,\t" } else { "" });
                text(name, out);
                out.push_str(" : ");
                escaped(value, out, every);
            }
            out.push('}');
        }
        Value::Array(elements) => {
            out.push('[');
            for (at, element) in elements.iter().enumerate() {
                out.push_str(if at > 0 { "," } else { "\n" });
                escaped(element, out, every);
            }
            out.push(']');
        }
        Value::String(string) => text(string, out),
        _ => out.push_str(&value.to_string()),
    }
}

fn anything() -> impl Strategy<Value = Value> {
    let text = prop_oneof!["\\PC{0,30}", "[\\x00-\\x7f]{0,20}"];
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        text.clone().prop_map(Value::from),
    ];
    scalar.prop_recursive(5, 60, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(text.clone(), inner, 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn the_values_are_those_of_serde_json(expected in anything(), every in 1..9usize) {
        let mut written = String::new();
        escaped(&expected, &mut written, every);
        for body in [expected.to_string(), format!("{expected:#}"), written] {
            let scan = scanned(&body).unwrap();
            prop_assert_eq!(&value(&Document::new(&body, &scan), 0), &expected, "{}", body);
        }
    }
}
