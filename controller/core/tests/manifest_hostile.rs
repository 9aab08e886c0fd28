//! Text from anyone: whatever it is, reading it ends, within bounds, and never panics.

// A panic is how a test fails.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use portolan_core::diagnostic::{Diagnostic, Style};
use portolan_core::parse::{MAX_FILE_BYTES, SourceFile, parse_files};
use proptest::prelude::*;

fn faults(bytes: impl Into<Vec<u8>>) -> Vec<Diagnostic> {
    let file = SourceFile {
        path: PathBuf::from("hostile.yaml"),
        bytes: bytes.into(),
    };
    let (_, diagnostics) = parse_files(vec![file]);
    diagnostics
        .iter()
        .for_each(|diagnostic| drop(diagnostic.render(Style::Ansi)));
    diagnostics
}

fn first_code(bytes: impl Into<Vec<u8>>) -> String {
    faults(bytes)
        .first()
        .map(|diagnostic| diagnostic.code.to_string())
        .unwrap_or_default()
}

const HEAD: &str = "apiVersion: portolan.dev/v1alpha1\nkind: App\nmetadata: {name: shop}\n";

#[test]
fn what_is_too_much_is_refused_by_name() {
    let anchors = |depth: usize| {
        let open: String = (0..depth).map(|level| format!("&a{level} [")).collect();
        format!("{HEAD}x-a: {open}{}\nspec: {{}}\n", "]".repeat(depth))
    };
    let many = |part: &str, times: usize| format!("{HEAD}{}", part.repeat(times));
    let full = |line: &str| line.repeat(MAX_FILE_BYTES / line.len());
    let cases: Vec<(String, &str, &str)> = vec![
        (full("#aaaaaaa"), "EmptyFile", "a file as large as it may be"),
        ("x".repeat(MAX_FILE_BYTES + 1), "FileTooLarge", "one byte more"),
        ("x".repeat(10 << 20), "FileTooLarge", "10 MiB"),
        (
            format!("{HEAD}x-a: {}", "[".repeat(100_000)),
            "TooDeep",
            "lists in lists",
        ),
        (
            format!("{HEAD}x-a: {}", "{a: ".repeat(100_000)),
            "TooDeep",
            "maps in maps",
        ),
        (
            (0..500).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect(),
            "TooDeep",
            "lines further and further in",
        ),
        (
            format!("{HEAD}x-a:\n{}", "- ".repeat(100_000)),
            "TooDeep",
            "dash after dash",
        ),
        (anchors(60), "EmptyApp", "anchors in anchors are no fault by themselves"),
        (many("? spec\n: {}\n", 1), "EmptyApp", "a key that says so"),
        (
            format!("{HEAD}x-a: [{}]\n", "a, ".repeat(200_000)),
            "TooManyValues",
            "a long list",
        ),
        ("---\na\n".repeat(20_000), "WrongType", "document after document"),
        (full("a: b\n"), "TooManyValues", "key after key"),
        (
            many("kind: App\n", 90_000) + "spec: {}\n",
            "DuplicateKey",
            "one key, again and again",
        ),
        (
            format!("{HEAD}x-a: &a {{<<: *a}}\n"),
            "YamlSyntax",
            "a map merged into itself",
        ),
        (format!("{HEAD}? [a, b]\n: c\n"), "UnsupportedYaml", "a list as a key"),
        (format!("{HEAD}&k spec: {{}}\n"), "EmptyApp", "an anchored key is a key"),
        (format!("{HEAD}\0\n"), "ControlCharacter", "a NUL"),
        (
            format!("{HEAD}spec: \u{1b}[31m\n"),
            "ControlCharacter",
            "an escape of a terminal",
        ),
    ];
    let found: Vec<_> = cases
        .iter()
        .map(|(text, _, reason)| (first_code(text.as_str()), *reason))
        .collect();
    let expected: Vec<_> = cases
        .iter()
        .map(|(_, code, reason)| (code.to_string(), *reason))
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn aliases_cannot_use_up_the_memory() {
    let mut text = format!("{HEAD}x-0: &a0 [a, a, a, a, a, a, a, a, a, a]\n");
    for level in 1..40 {
        let items = vec![format!("*a{}", level - 1); 10].join(", ");
        text += &format!("x-{level}: &a{level} [{items}]\n");
    }
    assert_eq!(first_code(text), "AliasBomb");
    let wide = format!(
        "{HEAD}x-a: &a [{}]\nx-b: [{}]\n",
        "a, ".repeat(1000),
        "*a, ".repeat(1000)
    );
    assert_eq!(first_code(wide), "AliasBomb");
    let nested: String = (0..60).map(|level| format!("&a{level} [")).collect();
    let copies = format!("{HEAD}x-a: {nested}{}{}\n", "a, ".repeat(20_000), "]".repeat(60));
    assert_eq!(first_code(copies), "AliasBomb", "each anchor keeps what is within it");
    let mut deep = format!("{HEAD}x-0: &a0 {}{}\n", "[".repeat(50), "]".repeat(50));
    for level in 1..50 {
        deep += &format!(
            "x-{level}: &a{level} {}*a{}{}\n",
            "[".repeat(50),
            level - 1,
            "]".repeat(50)
        );
    }
    assert_eq!(first_code(deep), "TooDeep", "depth adds up");
}

#[test]
fn no_more_faults_are_listed_than_can_be_read() {
    let unknown: String = (0..5000).map(|number| format!("key{number}: 1\n")).collect();
    let faults = faults(format!("{HEAD}{unknown}spec: {{services: {{web: {{image: a}}}}}}\n"));
    assert_eq!(faults.len(), 101);
    assert_eq!(faults[100].message, "hostile.yaml has 4900 more faults");
}

/// Pieces that manifests and their mistakes are made of.
fn piece() -> impl Strategy<Value = String> {
    let words = [
        "a",
        "spec",
        "services",
        "web",
        "image",
        "- ",
        ": ",
        ":",
        "\n",
        "\n  ",
        "\n    ",
        "\t",
        "{",
        "}",
        "[",
        "]",
        ", ",
        "&a ",
        "*a",
        "<<",
        "'",
        "\"",
        "|\n",
        ">\n",
        "---\n",
        "...\n",
        "? ",
        "! ",
        "!!str ",
        "%YAML 1.2\n",
        "#",
        "\\",
        "~",
        "null",
        "0x1F",
        "1e9",
        "-1",
        "99999999999999999999",
        "\u{feff}",
        "\r",
        "\0",
        "é",
        "名",
        "${services.",
        "${",
        "}",
        "5Gi",
        "10m",
        "true",
        "@",
        "`",
        "apiVersion: portolan.dev/v1alpha1\n",
        "kind: App\n",
        "overrides",
        "local",
        "after",
        "env",
        "ports",
        "name",
        "health",
    ];
    prop::sample::select(words.map(str::to_string).to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn bytes_of_any_kind_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        faults(bytes);
    }

    #[test]
    fn pieces_in_any_order_never_panic(pieces in prop::collection::vec(piece(), 0..80)) {
        faults(pieces.concat());
    }

    #[test]
    fn a_good_manifest_with_a_piece_changed_never_panics(
        edits in prop::collection::vec((any::<prop::sample::Index>(), piece(), 0..12_usize), 1..4)
    ) {
        let mut text: Vec<char> = include_str!("good/every-field.yaml").chars().collect();
        for (at, piece, removed) in edits {
            let at = at.index(text.len() + 1);
            let end = (at + removed).min(text.len());
            text.splice(at..end, piece.chars());
        }
        let text: String = text.into_iter().collect();
        let diagnostics = faults(text.clone());
        for diagnostic in diagnostics {
            prop_assert_ne!(diagnostic.code, "Internal", "{}", text);
        }
    }
}
