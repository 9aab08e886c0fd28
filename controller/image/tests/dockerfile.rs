//! Dockerfiles in, instructions or faults out: tables of cases, each with its reason.

// A panic is how a test fails.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use portolan_image::dockerfile::{self, Command, CopyFrom, Dockerfile, Instruction, Run, RunNetwork, Source};

fn parse(text: &str) -> Dockerfile {
    dockerfile::parse(Path::new("Dockerfile"), text.as_bytes()).unwrap_or_else(|faults| panic!("{text}\n{faults}"))
}

fn instruction(text: &str) -> Instruction {
    parse(&format!("FROM scratch\n{text}\n"))
        .stages
        .remove(0)
        .steps
        .remove(0)
        .instruction
}

/// `text` has exactly one fault, on `line`, whose message holds `part`.
fn refused(reason: &str, text: &str, line: u32, part: &str) {
    let faults = dockerfile::parse(Path::new("Dockerfile"), text.as_bytes())
        .expect_err(reason)
        .faults;
    assert_eq!(faults.len(), 1, "{reason}: {faults:?}");
    assert_eq!(faults[0].at.line, line, "{reason}: {faults:?}");
    let message = faults[0].to_string();
    assert!(message.contains(part), "{reason}: {message}");
}

#[test]
fn malformed_files_each_give_one_precise_fault() {
    let cases = [
        ("an empty file", "", 1, "no FROM"),
        ("only comments", "# nothing\n\n# here\n", 1, "no FROM"),
        ("an instruction before FROM", "RUN true\nFROM scratch\n", 1, "only ARG"),
        (
            "a misspelt instruction",
            "FROM scratch\nCOPPY a b\n",
            2,
            "did you mean `COPY`",
        ),
        ("no instruction at all", "FROM scratch\n=x\n", 2, "is no instruction"),
        (
            "an instruction far from any",
            "FROM scratch\nINSTALL curl\n",
            2,
            "`INSTALL` is no instruction",
        ),
        (
            "ONBUILD",
            "FROM scratch\nONBUILD RUN true\n",
            2,
            "ONBUILD is not supported",
        ),
        ("FROM alone", "FROM\n", 1, "FROM needs"),
        ("FROM with a stray word", "FROM scratch build\n", 1, "only `AS name`"),
        ("AS without a name", "FROM scratch AS\n", 1, "missing after AS"),
        ("a fourth word", "FROM scratch AS a b\n", 1, "nothing may follow"),
        ("a bad stage name", "FROM scratch AS 1st\n", 1, "cannot name a stage"),
        ("a reserved stage name", "FROM scratch AS scratch\n", 1, "reserved"),
        (
            "two stages of one name",
            "FROM scratch AS a\nFROM scratch AS A\n",
            2,
            "two stages",
        ),
        (
            "a bad image",
            "FROM Not//an:image\n",
            1,
            "neither a stage above nor an image",
        ),
        (
            "an unknown flag of FROM",
            "FROM --platfrom=linux/amd64 scratch\n",
            1,
            "did you mean `--platform`",
        ),
        ("COPY without a destination", "FROM scratch\nCOPY a\n", 2, "destination"),
        ("COPY of nothing", "FROM scratch\nCOPY\n", 2, "COPY needs"),
        (
            "COPY out of the context",
            "FROM scratch\nCOPY ../secret /\n",
            2,
            "leads out of the build context",
        ),
        (
            "COPY out of the context by a detour",
            "FROM scratch\nCOPY a/../../secret /\n",
            2,
            "leads out",
        ),
        (
            "COPY of a URL",
            "FROM scratch\nCOPY https://example.com/x /\n",
            2,
            "COPY takes no URL",
        ),
        (
            "ADD of a URL",
            "FROM scratch\nADD https://example.com/x /\n",
            2,
            "not supported",
        ),
        (
            "ADD of a repository",
            "FROM scratch\nADD git@example.com:x.git /\n",
            2,
            "not supported",
        ),
        (
            "ADD --from",
            "FROM scratch\nADD --from=x a b\n",
            2,
            "--from is not known here",
        ),
        (
            "COPY --link",
            "FROM scratch\nCOPY --link a b\n",
            2,
            "--link is not supported",
        ),
        (
            "a flag given twice",
            "FROM scratch\nCOPY --chown=1 --chown=2 a b\n",
            2,
            "given twice",
        ),
        (
            "a flag without a value",
            "FROM scratch\nCOPY --chown a b\n",
            2,
            "needs a value",
        ),
        (
            "a mode that is not octal",
            "FROM scratch\nCOPY --chmod=rwx a b\n",
            2,
            "octal",
        ),
        (
            "--from a later stage",
            "FROM scratch\nCOPY --from=1 a b\nFROM scratch\n",
            2,
            "no stage 1",
        ),
        (
            "--from itself",
            "FROM scratch AS a\nCOPY --from=a a b\n",
            2,
            "copies from itself",
        ),
        (
            "--from a variable",
            "FROM scratch\nCOPY --from=$X a b\n",
            2,
            "takes no variables",
        ),
        (
            "--from what is no name",
            "FROM scratch\nCOPY --from=Bad//x a b\n",
            2,
            "neither a stage",
        ),
        ("RUN alone", "FROM scratch\nRUN\n", 2, "RUN needs"),
        ("RUN of an empty list", "FROM scratch\nRUN []\n", 2, "RUN needs"),
        (
            "RUN with a mount",
            "FROM scratch\nRUN --mount=type=cache,target=/x true\n",
            2,
            "--mount is not supported",
        ),
        (
            "RUN with a network",
            "FROM scratch\nRUN --network=hots true\n",
            2,
            "`hots` is no network of a RUN",
        ),
        (
            "a list in single quotes",
            "FROM scratch\nCMD ['a', 'b']\n",
            2,
            "no valid JSON list",
        ),
        ("a list of numbers", "FROM scratch\nCMD [\"a\", 1]\n", 2, "only strings"),
        (
            "SHELL as a line",
            "FROM scratch\nSHELL /bin/sh -c\n",
            2,
            "SHELL takes a JSON list",
        ),
        ("SHELL of nothing", "FROM scratch\nSHELL []\n", 2, "SHELL takes"),
        ("ENV without a value", "FROM scratch\nENV A\n", 2, "has no value"),
        (
            "ENV with a stray word",
            "FROM scratch\nENV A=b c\n",
            2,
            "`c` has no `=`",
        ),
        ("ENV without a name", "FROM scratch\nENV =b\n", 2, "name is missing"),
        (
            "an unclosed quote",
            "FROM scratch\nENV A=\"b\n",
            2,
            "double quote is not closed",
        ),
        (
            "an unclosed brace",
            "FROM scratch\nWORKDIR /a/${X\n",
            2,
            "`}` is missing",
        ),
        (
            "an unknown modifier",
            "FROM scratch\nWORKDIR /a/${X^^}\n",
            2,
            "no known modifier",
        ),
        (
            "ARG that is no name",
            "ARG 1x\nFROM scratch\n",
            1,
            "cannot name a variable",
        ),
        ("a port too high", "FROM scratch\nEXPOSE 70000\n", 2, "no port"),
        ("a protocol not known", "FROM scratch\nEXPOSE 80/http\n", 2, "protocols"),
        (
            "a signal not known",
            "FROM scratch\nSTOPSIGNAL SIGNOPE\n",
            2,
            "no signal",
        ),
        (
            "a healthcheck of no kind",
            "FROM scratch\nHEALTHCHECK curl x\n",
            2,
            "neither CMD nor NONE",
        ),
        (
            "a healthcheck without a command",
            "FROM scratch\nHEALTHCHECK CMD\n",
            2,
            "needs a command",
        ),
        (
            "a healthcheck off, with more",
            "FROM scratch\nHEALTHCHECK NONE x\n",
            2,
            "nothing else",
        ),
        (
            "a duration without a unit",
            "FROM scratch\nHEALTHCHECK --interval=5 CMD true\n",
            2,
            "no duration",
        ),
        (
            "retries that are no number",
            "FROM scratch\nHEALTHCHECK --retries=x CMD true\n",
            2,
            "retries",
        ),
        (
            "a misspelt flag",
            "FROM scratch\nHEALTHCHECK --intervall=5s CMD true\n",
            2,
            "did you mean `--interval`",
        ),
        ("an empty volume", "FROM scratch\nVOLUME [\"\"]\n", 2, "not empty"),
        (
            "a here-document without an end",
            "FROM scratch\nRUN <<EOF\nfoo\n",
            2,
            "not closed",
        ),
        (
            "another language",
            "# syntax=example.com/other:1\nFROM scratch\n",
            1,
            "another Dockerfile language",
        ),
        (
            "a bad escape directive",
            "# escape=x\nFROM scratch\n",
            1,
            "escape character",
        ),
        (
            "a fault in a continued line",
            "FROM scratch\nENV A=b \\\n  C=d \\\n  E\n",
            4,
            "`E` has no `=`",
        ),
    ];
    for (reason, text, line, part) in cases {
        refused(reason, text, line, part);
    }
}

#[test]
fn bytes_that_are_no_text_are_refused() {
    let fault = |bytes: &[u8]| {
        dockerfile::parse(Path::new("D"), bytes)
            .expect_err("bad bytes")
            .faults
            .remove(0)
    };
    assert_eq!(fault(b"FROM scratch\nENV A=\xff\n").at.line, 2);
    assert!(fault(b"FROM scratch\n\0").cause.contains("zero byte"));
    assert!(fault(&vec![b'#'; 10 << 20]).cause.contains("are allowed"));
}

#[test]
fn every_fault_is_reported_at_once_and_in_order() {
    let text = "FROM a AS b c\nCOPPY x y\nENV A\nCOPY --from=0 a b\nEXPOSE x\nRUN --mount=type=tmpfs x\nRUN ok\nUSER\n";
    let faults = dockerfile::parse(Path::new("Dockerfile"), text.as_bytes()).expect_err("faults");
    let lines: Vec<u32> = faults.faults.iter().map(|fault| fault.at.line).collect();
    assert_eq!(lines, [1, 2, 3, 4, 5, 6, 8]);
    assert_eq!(faults.faults[1].snippet, "COPPY x y");
    assert!(
        faults
            .to_string()
            .starts_with("Dockerfile has 7 faults\n  Dockerfile:1:13  FROM a AS b c\n"),
        "{faults}"
    );
}

#[test]
fn columns_point_at_the_word() {
    let faults = dockerfile::parse(Path::new("D"), "FROM scratch\n  EXPOSE 80 \\\n   443x\n".as_bytes()).unwrap_err();
    let at = faults.faults[0].at;
    assert_eq!((at.line, at.column), (3, 4));
}

#[test]
fn comments_and_continuations() {
    let file = parse("# a comment\n\nFROM scratch\nRUN a && \\\n# in between\n\n   b \\\n  && c\n  run d\n");
    let sources: Vec<_> = file.stages[0].steps.iter().map(|step| step.source.as_str()).collect();
    assert_eq!(
        sources,
        ["RUN a &&    b   && c", "run d"],
        "comments and empty lines within are dropped"
    );
    assert_eq!(file.stages[0].steps[1].at.line, 9);

    let doubled = parse("FROM scratch\nRUN echo \\\\\nRUN b\n");
    assert_eq!(
        doubled.stages[0].steps.len(),
        2,
        "an escaped backslash at the end continues nothing"
    );

    let windows = parse("FROM scratch\r\nRUN a \\\r\n  b\r\n");
    assert_eq!(windows.stages[0].steps[0].source, "RUN a   b", "lines may end in CR LF");

    let backtick = parse("# escape=`\nFROM scratch\nWORKDIR C:\\dir\nRUN a `\n b\n");
    assert_eq!(backtick.escape, '`');
    assert_eq!(backtick.stages[0].steps[1].source, "RUN a  b");

    let marked = parse("\u{feff}# syntax=docker/dockerfile:1\nFROM scratch\n");
    assert_eq!(
        marked.stages.len(),
        1,
        "a byte order mark and the customary syntax line"
    );

    let late = parse("# comment\n# escape=`\nFROM scratch\nRUN a \\\n b\n");
    assert_eq!(late.escape, '\\', "a directive after a comment is a comment");
}

#[test]
fn stages_and_their_references() {
    let file = parse(
        "ARG TAG=1\nFROM --platform=$BUILDPLATFORM base:$TAG AS Build\nFROM build\nCOPY --from=BUILD /a /b\n\
         COPY --from=0 /a /b\nFROM scratch\nCOPY --from=0 a b\nCOPY --from=debian:12 a b\n",
    );
    assert_eq!(file.global_args[0].name, "TAG");
    assert_eq!(file.stages[0].name.as_deref(), Some("build"));
    assert_eq!(file.stages[0].base.raw, "base:$TAG");
    assert_eq!(
        file.stages[0].platform.as_ref().map(|text| text.raw.as_str()),
        Some("$BUILDPLATFORM")
    );
    let from = |stage: usize, step: usize| match &file.stages[stage].steps[step].instruction {
        Instruction::Copy(copy) => copy.from.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(from(1, 0), Some(CopyFrom::Stage(0)));
    assert_eq!(from(2, 0), Some(CopyFrom::Stage(0)));
    assert!(matches!(from(2, 1), Some(CopyFrom::Image(image)) if image.familiar() == "debian:12"));
}

#[test]
fn a_stage_copies_from_itself_by_number_is_refused() {
    refused(
        "its own number",
        "FROM scratch\nFROM scratch\nCOPY --from=1 a b\n",
        3,
        "no stage 1",
    );
}

#[test]
fn commands_have_two_forms() {
    let exec = |words: &[&str]| Command::Exec(words.iter().map(|word| word.to_string()).collect());
    assert_eq!(
        instruction("CMD [\"a\", \"b c\"]"),
        Instruction::Cmd(exec(&["a", "b c"]))
    );
    assert_eq!(
        instruction("CMD a  $B \"c\""),
        Instruction::Cmd(Command::Shell("a  $B \"c\"".into()))
    );
    assert_eq!(instruction("ENTRYPOINT []"), Instruction::Entrypoint(exec(&[])));
    let test = Command::Shell("[ -f /x ] || exit 1".into());
    assert_eq!(instruction("RUN [ -f /x ] || exit 1"), Instruction::Run(run(test)));
}

fn run(command: Command) -> Run {
    Run {
        network: RunNetwork::Loopback,
        command,
    }
}

#[test]
fn run_names_its_network() {
    for (text, expected) in [
        ("RUN true", RunNetwork::Loopback),
        ("RUN --network=default true", RunNetwork::Loopback),
        ("RUN --network=none true", RunNetwork::Loopback),
        ("RUN --network=host true", RunNetwork::Host),
    ] {
        let Instruction::Run(run) = instruction(text) else {
            panic!("RUN")
        };
        assert_eq!(run.network, expected, "{text}");
    }
}

#[test]
fn env_and_label_have_two_forms() {
    let pairs = |text: &str| match instruction(text) {
        Instruction::Env(pairs) | Instruction::Label(pairs) => pairs
            .into_iter()
            .map(|(name, value)| (name.raw, value.raw))
            .collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    let owned = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect()
    };
    assert_eq!(
        pairs("ENV A=b C='d e' F=g\\ h"),
        owned(&[("A", "b"), ("C", "'d e'"), ("F", "g\\ h")])
    );
    assert_eq!(pairs("ENV A b c  d=e"), owned(&[("A", "b c  d=e")]));
    assert_eq!(
        pairs("LABEL \"a.b\"=c d=\"\""),
        owned(&[("\"a.b\"", "c"), ("d", "\"\"")])
    );
}

#[test]
fn copy_takes_lists_wildcards_and_flags() {
    let Instruction::Copy(copy) = instruction("COPY --chown=1:2 --chmod=0755 [\"a b\", \"*.c\", \"/dest/\"]") else {
        panic!("COPY");
    };
    let sources: Vec<_> = copy
        .sources
        .iter()
        .map(|source| match source {
            Source::Path(text) => text.raw.as_str(),
            Source::Inline(heredoc) => &heredoc.name,
        })
        .collect();
    assert_eq!(sources, ["a b", "*.c"]);
    assert_eq!(copy.destination.raw, "/dest/");
    assert_eq!(copy.chown.map(|text| text.raw).as_deref(), Some("1:2"));
}

#[test]
fn here_documents() {
    assert_eq!(
        instruction("RUN <<EOF\necho a\n  echo b\nEOF"),
        Instruction::Run(run(Command::Shell("echo a\n  echo b\n".into())))
    );
    let shell = Command::Shell("cat <<-'X' > /f\n\tone\n\tX\n".into());
    assert_eq!(
        instruction("RUN cat <<-'X' > /f\n\tone\n\tX"),
        Instruction::Run(run(shell))
    );
    let Instruction::Copy(copy) = instruction("COPY <<A <<\"B\" /d/\none $X\nA\ntwo $X\nB") else {
        panic!("COPY")
    };
    let bodies: Vec<_> = copy
        .sources
        .iter()
        .map(|source| match source {
            Source::Inline(heredoc) => (heredoc.name.as_str(), heredoc.body.as_str(), heredoc.expand),
            Source::Path(text) => panic!("{text:?}"),
        })
        .collect();
    assert_eq!(bodies, [("A", "one $X\n", true), ("B", "two $X\n", false)]);
    let after = parse("FROM scratch\nRUN <<EOF\nFROM nothing\n# kept\nEOF\nUSER x\n");
    assert_eq!(
        after.stages[0].steps.len(),
        2,
        "the text of a here-document is no instruction"
    );
}

#[test]
fn hostile_texts_neither_panic_nor_hang() {
    let long = format!("FROM scratch\nENV A={}\n", "${A:-".repeat(20_000));
    let texts = [
        "FROM scratch\nCOPY --",
        "FROM --",
        "RUN <<",
        "FROM scratch\nRUN <<A <<B\nA\n",
        "\\",
        "FROM \\\n\\\n",
        &long,
    ];
    for text in texts {
        let _ = dockerfile::parse(Path::new("D"), text.as_bytes());
    }
}
