//! Wrong manifests, Dockerfiles and command lines, each with the one precise error that the user reads.
//!
//! A folder below `fixtures/wrong` is a case: its `session.txt` says what is typed and what must be answered.
//! `PORTOLAN_REGENERATE=1 cargo test -p portolan-tests --test wrong_manifests` writes the answers anew: read the difference.

// A panic is how a test fails.
#![allow(clippy::unwrap_used)]

use std::any::Any;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use portolan_tests::home::Home;
use portolan_tests::{is_root, root, session, skip};

fn fixtures() -> PathBuf {
    root().join("tests/fixtures")
}

/// Cases, by what they need: a case that brings up or runs something runs as root alone.
fn cases(as_root: bool) -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = fs::read_dir(fixtures().join("wrong"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|folder| wants_root(folder) == as_root)
        .collect();
    folders.sort();
    folders
}

fn wants_root(folder: &Path) -> bool {
    let session = fs::read_to_string(folder.join(session::FILE)).unwrap();
    session.contains("$ portolan up") || folder.ends_with("run-fails")
}

/// Runs one case in a copy of its folder; answers the difference, if there is one.
fn difference(folder: &Path) -> Option<String> {
    let home = Home::new();
    let copy = home.path().join("app");
    copy_folder(folder, &copy);
    let _held = prepare(folder.file_name().unwrap().to_str().unwrap(), &copy, &home);
    let (expected, said) = session::run(folder, &copy, &home);
    let errors = said.matches("error[").count();
    let fault = match (said == expected, errors) {
        (false, _) => "it says something else",
        (true, 1) => return None,
        (true, _) => "it does not give exactly one error",
    };
    Some(format!("--- {}: {fault}\n{said}", folder.display()))
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let copy = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy_folder(&entry.path(), &copy),
            false if entry.file_name() == session::FILE => {}
            false => _ = fs::copy(entry.path(), copy).unwrap(),
        }
    }
}

/// Makes what no file of the repository can hold. What it answers is held until the case is over.
fn prepare(name: &str, folder: &Path, home: &Home) -> Box<dyn Any> {
    match name {
        "ten-mebibytes" => fs::write(folder.join("portolan.yaml"), "# ballast\n".repeat(1 << 20)).unwrap(),
        "not-utf8" => fs::write(folder.join("portolan.yaml"), b"kind: App\nmetadata: {name: caf\xe9}\n").unwrap(),
        "unreadable-context" => make_pipe(&folder.join("pipe")),
        "run-fails" => compile_fail(&folder.join("fail")),
        "port-taken" => {
            import_empty_image(home);
            return Box::new(TcpListener::bind("127.0.0.1:18080").unwrap());
        }
        "one-port-for-two" | "binding-not-given" => import_empty_image(home),
        name if name.starts_with("secret-") || name.starts_with("env-file") => import_empty_image(home),
        _ => {}
    }
    Box::new(())
}

fn make_pipe(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

/// A static program that says its argument on stderr and ends with 3.
fn compile_fail(path: &Path) {
    let source = path.with_extension("c");
    fs::write(
        &source,
        "#include <stdio.h>\nint main(int c, char **v) { fputs(v[c - 1], stderr); return 3; }\n",
    )
    .unwrap();
    let compiled = Command::new("gcc")
        .args(["-static", "-o"])
        .arg(path)
        .arg(&source)
        .status();
    assert!(compiled.unwrap().success());
    fs::remove_file(source).unwrap();
}

/// `portolan.local/web`: an image that is there, of one small file.
fn import_empty_image(home: &Home) {
    let tree = home.path().join("tree");
    fs::create_dir(&tree).unwrap();
    fs::write(tree.join("web"), "no program\n").unwrap();
    home.run(
        home.path(),
        &[
            "image",
            "import",
            "--name",
            "portolan.local/web",
            tree.to_str().unwrap(),
        ],
    );
}

#[test]
fn every_wrong_input_gives_its_one_error() {
    let cases = cases(false);
    assert!(cases.len() >= 25, "only {} cases", cases.len());
    let different: Vec<String> = cases.iter().filter_map(|folder| difference(folder)).collect();
    assert!(
        different.is_empty(),
        "{} of {}:\n{}",
        different.len(),
        cases.len(),
        different.join("\n")
    );
}

#[test]
fn every_wrong_input_of_what_needs_root_gives_its_one_error() {
    if !is_root() {
        return skip("every_wrong_input_of_what_needs_root_gives_its_one_error", "needs root");
    }
    let different: Vec<String> = cases(true).iter().filter_map(|folder| difference(folder)).collect();
    assert!(different.is_empty(), "{}", different.join("\n"));
}

#[test]
fn twelve_faults_of_one_file_are_said_at_once_and_in_order() {
    let home = Home::new();
    let folder = fixtures().join("twelve-faults");
    copy_folder(&folder, &home.path().join("app"));
    let (expected, said) = session::run(&folder, &home.path().join("app"), &home);
    assert_eq!(said, expected);
    assert_eq!(said.matches("error[").count(), 12);
    let line_of = |place: &str| {
        place
            .trim_start()
            .strip_prefix("portolan.yaml:")?
            .split(' ')
            .next()?
            .parse()
            .ok()
    };
    let lines: Vec<u32> = said.lines().filter_map(line_of).collect();
    assert_eq!(lines.len(), 12, "each has its place");
    assert!(lines.is_sorted(), "{lines:?}");
}
