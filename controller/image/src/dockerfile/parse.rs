//! One logical line -> one instruction. The grammar is that of the Dockerfile reference; a form that the reference
//! knows and Portolan does not yet is refused by name, so that nothing is ever built without a part of it.

use portolan_core::reference::ImageReference;

use super::expand;
use super::fault::{Complaint, Position};
use super::instruction::{
    Argument, Command, Copy, CopyFrom, CopyKind, Healthcheck, Instruction, Run, RunNetwork, Source, Stage, Step, Text,
};
use super::lines::{self, LogicalLine};
use super::values;
use super::words::{At, Flag, Word};

/// Every instruction of the reference, for the nearest one to a misspelt word.
const KNOWN: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// What one line gives.
pub(super) enum Parsed {
    From(Stage),
    Step(Step),
}

/// Parses `line`; `stages` are those above it, for `--from`.
pub(super) fn parse_line(line: &LogicalLine, escape: char, stages: &[Stage]) -> Result<Parsed, (Position, Complaint)> {
    let parser = Parser { line, escape, stages };
    parser
        .parse()
        .map_err(|(offset, complaint)| (line.position(offset), complaint))
}

/// True for a line that begins a stage, even when the rest of it is wrong.
pub(super) fn is_from(line: &LogicalLine) -> bool {
    Word::new(0, &line.text)
        .split_first()
        .0
        .text
        .eq_ignore_ascii_case("from")
}

struct Parser<'a> {
    line: &'a LogicalLine,
    escape: char,
    stages: &'a [Stage],
}

impl<'a> Parser<'a> {
    fn parse(&self) -> At<Parsed> {
        let (keyword, rest) = Word::new(0, &self.line.text).split_first();
        let name = keyword.text.to_ascii_uppercase();
        let (flags, args) = match name.as_str() {
            "FROM" | "COPY" | "ADD" | "RUN" | "HEALTHCHECK" => rest.split_flags(self.escape),
            _ => (Vec::new(), rest),
        };
        if args.text.is_empty() && KNOWN.contains(&name.as_str()) {
            return Err((
                keyword.offset,
                Complaint::new(format!("{name} needs at least one argument")),
            ));
        }
        if name == "FROM" {
            return self.from(&flags, args).map(Parsed::From);
        }
        let instruction = self.instruction(keyword, &name, &flags, args)?;
        Ok(Parsed::Step(Step {
            at: self.line.position(0),
            source: self.line.text.trim().to_owned(),
            instruction,
        }))
    }

    fn instruction(&self, keyword: Word, name: &str, flags: &[Flag], args: Word) -> At<Instruction> {
        Ok(match name {
            "ARG" => Instruction::Arg(self.arguments(args)?),
            "ENV" => Instruction::Env(self.pairs(args)?),
            "LABEL" => Instruction::Label(self.pairs(args)?),
            "COPY" => Instruction::Copy(self.copy(CopyKind::Copy, flags, args)?),
            "ADD" => Instruction::Copy(self.copy(CopyKind::Add, flags, args)?),
            "RUN" => Instruction::Run(self.run(flags, args)?),
            "CMD" => Instruction::Cmd(command(args)?),
            "ENTRYPOINT" => Instruction::Entrypoint(command(args)?),
            "SHELL" => Instruction::Shell(shell(args)?),
            "WORKDIR" => Instruction::Workdir(self.text(args)?),
            "USER" => Instruction::User(self.text(args)?),
            "EXPOSE" => Instruction::Expose(self.expose(args)?),
            "VOLUME" => Instruction::Volume(self.volume(args)?),
            "STOPSIGNAL" => Instruction::StopSignal(self.stop_signal(args)?),
            "HEALTHCHECK" => Instruction::Healthcheck(healthcheck(flags, args)?),
            "MAINTAINER" => Instruction::Maintainer(args.text.to_owned()),
            "ONBUILD" => {
                let hint = "write the instruction in the Dockerfile that builds on this image";
                return Err((keyword.offset, Complaint::new("ONBUILD is not supported").hint(hint)));
            }
            _ => {
                let complaint = Complaint::new(format!("{} is no instruction", quoted(keyword.text)));
                return Err((keyword.offset, complaint.nearest(keyword.text, KNOWN)));
            }
        })
    }

    fn from(&self, flags: &[Flag], args: Word) -> At<Stage> {
        let [platform] = take_flags(flags, ["platform"], &[])?;
        let words = args.split_blanks();
        let (base, name) = match words.as_slice() {
            [base] => (base, None),
            [_, word] if word.text.eq_ignore_ascii_case("as") => {
                return Err((word.offset, Complaint::new("the name is missing after AS")));
            }
            [base, r#as, name] if r#as.text.eq_ignore_ascii_case("as") => (base, Some(name)),
            [_, r#as, _, other, ..] if r#as.text.eq_ignore_ascii_case("as") => {
                return Err((other.offset, Complaint::new("nothing may follow the name of a stage")));
            }
            [_, other, ..] => {
                let complaint = Complaint::new("after the image, FROM takes only `AS name`");
                return Err((other.offset, complaint.hint("FROM image AS name")));
            }
            [] => unreachable!("an empty FROM was refused before"),
        };
        let name = name.map(|name| self.stage_name(*name)).transpose()?;
        let platform = platform.map(|platform| self.text(platform)).transpose()?;
        let base = self.base(*base)?;
        Ok(Stage {
            name,
            base,
            platform,
            steps: Vec::new(),
        })
    }

    /// `scratch`, a stage above or an image; with variables in it, only the build can tell.
    fn base(&self, word: Word) -> At<Text> {
        let known =
            |name: &str| name == "scratch" || self.stages.iter().any(|stage| stage.name.as_deref() == Some(name));
        if !word.text.contains('$') && !known(&word.text.to_ascii_lowercase()) {
            let names = self.stages.iter().filter_map(|stage| stage.name.as_deref());
            ImageReference::parse(word.text).map_err(|error| {
                let cause = format!(
                    "{} is neither a stage above nor an image: {}",
                    quoted(word.text),
                    error.reason
                );
                (word.offset, Complaint::new(cause).nearest(word.text, names))
            })?;
        }
        self.text(word)
    }

    fn stage_name(&self, word: Word) -> At<String> {
        let name = word.text.to_ascii_lowercase();
        let complaint = |cause: String| Err((word.offset, Complaint::new(cause)));
        let valid = name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
        if !valid || !name.starts_with(|c: char| c.is_ascii_lowercase()) {
            let cause = format!(
                "{} cannot name a stage: a letter, then letters, digits and - _ .",
                quoted(word.text)
            );
            return complaint(cause);
        }
        if matches!(name.as_str(), "scratch" | "context") {
            return complaint(format!("the name {name} is reserved"));
        }
        if self.stages.iter().any(|stage| stage.name.as_ref() == Some(&name)) {
            return complaint(format!("two stages are named {name}"));
        }
        Ok(name)
    }

    fn arguments(&self, args: Word) -> At<Vec<Argument>> {
        let argument = |word: Word| {
            let (name, default) = match word.text.split_once('=') {
                Some((name, default)) => (name, Some(Word::new(word.offset + name.len() + 1, default))),
                None => (word.text, None),
            };
            if !is_variable_name(name) {
                return Err((
                    word.offset,
                    Complaint::new(format!("{} cannot name a variable", quoted(name))),
                ));
            }
            let default = default.map(|default| self.text(default)).transpose()?;
            Ok(Argument {
                name: name.to_owned(),
                default,
            })
        };
        args.split_quoted(self.escape).into_iter().map(argument).collect()
    }

    /// `name=value ...`, or the old form `name value to the end of the line`.
    fn pairs(&self, args: Word) -> At<Vec<(Text, Text)>> {
        let words = args.split_quoted(self.escape);
        if !words[0].text.contains('=') {
            let (name, value) = args.split_first();
            if value.text.is_empty() {
                let complaint = Complaint::new(format!("{} has no value", quoted(name.text)));
                return Err((name.offset, complaint.hint(format!("{}=value", name.text))));
            }
            return Ok(vec![(self.text(name)?, self.text(value)?)]);
        }
        words.into_iter().map(|word| self.pair(word)).collect()
    }

    fn pair(&self, word: Word) -> At<(Text, Text)> {
        let Some((name, value)) = word.text.split_once('=') else {
            let complaint = Complaint::new(format!("{} has no `=`", quoted(word.text)));
            return Err((
                word.offset,
                complaint.hint("put a value that holds blanks between double quotes"),
            ));
        };
        if name.is_empty() {
            return Err((word.offset, Complaint::new("a name is missing before `=`")));
        }
        let value = Word::new(word.offset + name.len() + 1, value);
        Ok((self.text(Word::new(word.offset, name))?, self.text(value)?))
    }

    fn run(&self, flags: &[Flag], args: Word) -> At<Run> {
        let [network] = take_flags(flags, ["network"], &["mount", "security", "device"])?;
        Ok(Run {
            network: network.map_or(Ok(RunNetwork::default()), run_network)?,
            command: self.run_command(args)?,
        })
    }

    fn run_command(&self, args: Word) -> At<Command> {
        let heredocs = &self.line.heredocs;
        if heredocs.is_empty() {
            return match command(args)? {
                Command::Exec(words) if words.is_empty() => {
                    Err((args.offset, Complaint::new("RUN needs at least one argument")))
                }
                command => Ok(command),
            };
        }
        if heredocs.len() == 1 && lines::is_heredoc_word(args.text) && !args.text.contains(char::is_whitespace) {
            return match heredocs[0].body.starts_with("#!") {
                true => {
                    let complaint = Complaint::new("a script that names its own interpreter is not supported");
                    Err((args.offset, complaint.hint("RUN interpreter <<EOF")))
                }
                false => Ok(Command::Shell(heredocs[0].body.clone())),
            };
        }
        let bodies: String = heredocs.iter().map(|heredoc| heredoc.as_written()).collect();
        Ok(Command::Shell(format!("{}\n{bodies}", args.text)))
    }

    fn copy(&self, kind: CopyKind, flags: &[Flag], args: Word) -> At<Copy> {
        let [from, chown, chmod] = match kind {
            CopyKind::Copy => take_flags(flags, ["from", "chown", "chmod"], &["link", "parents", "exclude"])?,
            CopyKind::Add => {
                let later = &["link", "exclude", "checksum", "keep-git-dir", "unpack"];
                let [chown, chmod] = take_flags(flags, ["chown", "chmod"], later)?;
                [None, chown, chmod]
            }
        };
        let mut words = self.copy_words(args)?;
        let destination = words.pop().filter(|_| !words.is_empty()).ok_or_else(|| {
            let complaint = Complaint::new("sources or a destination are missing");
            (args.offset, complaint.hint("COPY source... destination"))
        })?;
        let from = from.map(|from| self.copy_from(from)).transpose()?;
        let sources = self.sources(words, kind, from.is_some(), args.offset)?;
        if let Some(chmod) = chmod.filter(|chmod| !chmod.text.contains('$')) {
            values::parse_mode(chmod.text).map_err(|cause| (chmod.offset, Complaint::new(cause)))?;
        }
        Ok(Copy {
            kind,
            from,
            chown: chown.map(|chown| self.text(chown)).transpose()?,
            chmod: chmod.map(|chmod| self.text(chmod)).transpose()?,
            sources,
            destination,
        })
    }

    /// The sources and the destination, from a JSON list or from words between blanks.
    fn copy_words(&self, args: Word) -> At<Vec<Text>> {
        let at = self.line.position(args.offset);
        match args.json_list()? {
            Some(list) => list
                .into_iter()
                .map(|word| self.text(Word::new(args.offset, &word)).map(|text| Text { at, ..text }))
                .collect(),
            None => args.split_blanks().into_iter().map(|word| self.text(word)).collect(),
        }
    }

    fn sources(&self, words: Vec<Text>, kind: CopyKind, elsewhere: bool, offset: usize) -> At<Vec<Source>> {
        let mut heredocs = self.line.heredocs.iter();
        let source = |text: Text| {
            let refuse = |complaint: Complaint| Err((offset, complaint));
            match () {
                () if lines::is_heredoc_word(&text.raw) && elsewhere => {
                    refuse(Complaint::new("a here-document is no file of another stage or image"))
                }
                () if lines::is_heredoc_word(&text.raw) => match heredocs.next() {
                    Some(heredoc) => Ok(Source::Inline(heredoc.clone())),
                    None => refuse(Complaint::new(format!("the here-document {} has no text", text.raw))),
                },
                () if is_remote(&text.raw) && kind == CopyKind::Add => refuse(
                    Complaint::new("ADD of a URL or a Git repository is not supported")
                        .hint("fetch it in a RUN step, or put the file into the context"),
                ),
                () if is_remote(&text.raw) => refuse(Complaint::new("COPY takes no URL")),
                () if !elsewhere && !text.is_variable() && leads_out(&text.raw) => refuse(
                    Complaint::new(format!("the source {} leads out of the build context", text.raw))
                        .hint("choose a higher folder as the build context"),
                ),
                () => Ok(Source::Path(text)),
            }
        };
        words.into_iter().map(source).collect()
    }

    /// An earlier stage by name or number, else an image.
    fn copy_from(&self, word: Word) -> At<CopyFrom> {
        let refuse = |complaint: Complaint| Err((word.offset, complaint));
        if word.text.contains('$') {
            let hint = "name a stage with `FROM $IMAGE AS name`, and copy from that stage";
            return refuse(Complaint::new("--from takes no variables").hint(hint));
        }
        if let Some(index) = self
            .stages
            .iter()
            .position(|stage| stage.name.as_deref() == Some(&word.text.to_ascii_lowercase()))
        {
            // The last stage is the one being written.
            return match index + 1 == self.stages.len() {
                true => refuse(Complaint::new(format!("the stage {} copies from itself", word.text))),
                false => Ok(CopyFrom::Stage(index)),
            };
        }
        if let Ok(index) = word.text.parse::<usize>() {
            return match index + 1 < self.stages.len() {
                true => Ok(CopyFrom::Stage(index)),
                false => refuse(Complaint::new(format!("there is no stage {index} above this one"))),
            };
        }
        let names = self.stages.iter().filter_map(|stage| stage.name.as_deref());
        ImageReference::parse(word.text).map(CopyFrom::Image).or_else(|error| {
            let cause = format!(
                "{} is neither a stage above nor an image: {}",
                quoted(word.text),
                error.reason
            );
            refuse(Complaint::new(cause).nearest(word.text, names))
        })
    }

    fn expose(&self, args: Word) -> At<Vec<Text>> {
        let port = |word: Word| {
            if !word.text.contains('$') {
                values::parse_ports(word.text).map_err(|cause| (word.offset, Complaint::new(cause)))?;
            }
            self.text(word)
        };
        args.split_blanks().into_iter().map(port).collect()
    }

    fn volume(&self, args: Word) -> At<Vec<Text>> {
        let texts = self.copy_words(args)?;
        match texts.iter().any(|text| text.raw.is_empty()) || texts.is_empty() {
            true => Err((args.offset, Complaint::new("VOLUME needs a path that is not empty"))),
            false => Ok(texts),
        }
    }

    fn stop_signal(&self, args: Word) -> At<Text> {
        if !args.text.contains('$') {
            values::check_signal(args.text).map_err(|cause| (args.offset, Complaint::new(cause)))?;
        }
        self.text(args)
    }

    /// A word to expand later; a fault in its syntax is found now.
    fn text(&self, word: Word) -> At<Text> {
        expand::check(word.text, self.escape)
            .map_err(|error| (word.offset + error.offset, Complaint::new(error.cause)))?;
        Ok(Text {
            raw: word.text.to_owned(),
            at: self.line.position(word.offset),
        })
    }
}

fn command(args: Word) -> At<Command> {
    Ok(match args.json_list()? {
        Some(words) => Command::Exec(words),
        None => Command::Shell(args.text.to_owned()),
    })
}

fn shell(args: Word) -> At<Vec<String>> {
    let words = args.json_list()?.filter(|words| !words.is_empty());
    words.ok_or_else(|| {
        let complaint = Complaint::new("SHELL takes a JSON list");
        (args.offset, complaint.hint("SHELL [\"/bin/sh\", \"-c\"]"))
    })
}

fn healthcheck(flags: &[Flag], args: Word) -> At<Option<Healthcheck>> {
    let names = ["interval", "timeout", "start-period", "start-interval", "retries"];
    let [interval, timeout, start_period, start_interval, retries] = take_flags(flags, names, &[])?;
    let (kind, rest) = args.split_first();
    match kind.text.to_ascii_uppercase().as_str() {
        "NONE" if rest.text.is_empty() && flags.is_empty() => return Ok(None),
        "NONE" => return Err((args.offset, Complaint::new("HEALTHCHECK NONE takes nothing else"))),
        "CMD" if rest.text.is_empty() => return Err((args.offset, Complaint::new("HEALTHCHECK CMD needs a command"))),
        "CMD" => {}
        _ => {
            let complaint = Complaint::new(format!("{} is neither CMD nor NONE", quoted(kind.text)));
            return Err((kind.offset, complaint.nearest(kind.text, ["CMD", "NONE"])));
        }
    }
    let duration = |word: Option<Word>| {
        let parse =
            |word: Word| values::parse_duration(word.text).map_err(|cause| (word.offset, Complaint::new(cause)));
        word.map(parse).transpose()
    };
    let count = |word: Word| {
        let refused = || {
            (
                word.offset,
                Complaint::new(format!("{} is no number of retries", quoted(word.text))),
            )
        };
        word.text.parse::<u32>().map_err(|_| refused())
    };
    let command = match command(rest)? {
        Command::Exec(words) if words.is_empty() => {
            return Err((rest.offset, Complaint::new("HEALTHCHECK CMD needs a command")));
        }
        command => command,
    };
    Ok(Some(Healthcheck {
        command,
        interval: duration(interval)?,
        timeout: duration(timeout)?,
        start_period: duration(start_period)?,
        start_interval: duration(start_interval)?,
        retries: retries.map(count).transpose()?,
    }))
}

fn run_network(value: Word) -> At<RunNetwork> {
    match value.text {
        "default" | "none" => Ok(RunNetwork::Loopback),
        "host" => Ok(RunNetwork::Host),
        other => {
            let complaint = Complaint::new(format!("{} is no network of a RUN", quoted(other)));
            let complaint = complaint.nearest(other, ["default", "none", "host"]);
            Err((value.offset, complaint.hint("default, none or host")))
        }
    }
}

/// The values of the flags `known`, in that order. Flags of the reference that are not supported are named in `later`.
fn take_flags<'a, const N: usize>(flags: &[Flag<'a>], known: [&str; N], later: &[&str]) -> At<[Option<Word<'a>>; N]> {
    let mut values = [None; N];
    for flag in flags {
        if later.contains(&flag.name) {
            return Err((
                flag.offset,
                Complaint::new(format!("the flag --{} is not supported", flag.name)),
            ));
        }
        let Some(index) = known.iter().position(|name| *name == flag.name) else {
            let complaint = Complaint::new(format!("the flag --{} is not known here", flag.name));
            return Err((flag.offset, nearest_flag(complaint, flag.name, &known)));
        };
        let value = flag.value.filter(|value| !value.text.is_empty());
        let value = value.ok_or_else(|| {
            (
                flag.offset,
                Complaint::new(format!("the flag --{} needs a value", flag.name)),
            )
        })?;
        if values[index].replace(value).is_some() {
            return Err((
                flag.offset,
                Complaint::new(format!("the flag --{} is given twice", flag.name)),
            ));
        }
    }
    Ok(values)
}

fn nearest_flag(complaint: Complaint, name: &str, known: &[&str]) -> Complaint {
    let complaint = complaint.nearest(name, known.iter().copied());
    Complaint {
        nearest: complaint.nearest.map(|name| format!("--{name}")),
        ..complaint
    }
}

fn is_variable_name(name: &str) -> bool {
    let valid = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    valid && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
}

/// A source that ADD would fetch.
pub(crate) fn is_remote(source: &str) -> bool {
    let scheme = ["http://", "https://", "git://", "ssh://", "git@"];
    scheme
        .iter()
        .any(|scheme| source.to_ascii_lowercase().starts_with(scheme))
}

/// True when `..` takes a path above where it started.
pub(crate) fn leads_out(path: &str) -> bool {
    let mut depth = 0i64;
    for component in path.split('/') {
        depth += match component {
            "" | "." => 0,
            ".." => -1,
            _ => 1,
        };
        if depth < 0 {
            return true;
        }
    }
    false
}

/// A word of the file inside a message, cut where it is long.
fn quoted(word: &str) -> String {
    match word.char_indices().nth(40) {
        Some((end, _)) => format!("`{}…`", &word[..end]),
        None => format!("`{word}`"),
    }
}
