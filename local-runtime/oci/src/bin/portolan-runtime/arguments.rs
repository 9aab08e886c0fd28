//! What was typed, and what it means.

use std::ffi::OsString;
use std::path::PathBuf;

use portolan_oci::kill::parse_signal;
use portolan_oci::{create, exec};

pub const USAGE: &str = "\
usage: portolan-runtime [--root DIR] [--log FILE] [--log-format text|json] VERB | --version
  create [--bundle DIR] [--pid-file FILE] [--console-socket SOCKET] ID
  start ID
  run [--bundle DIR] [--pid-file FILE] ID
  state ID
  kill [--all] ID [SIGNAL]
  delete [--force] ID
  exec [--process FILE] [--cwd DIR] [--user UID[:GID]] [--env NAME=VALUE]... [--tty] [--console-socket SOCKET]
       [--pid-file FILE] [--detach] ID [--] [PROGRAM [ARGUMENT]...]
  list [--format table|json]";

#[derive(Debug)]
pub struct Arguments {
    pub root: Option<PathBuf>,
    pub log: Option<PathBuf>,
    pub log_format: Format,
    pub verb: Verb,
}

#[derive(Debug)]
pub enum Verb {
    Help,
    Version,
    Create { id: String, options: create::Options },
    Start { id: String },
    Run { id: String, options: create::Options },
    State { id: String },
    Kill { id: String, signal: i32, all: bool },
    Delete { id: String, force: bool },
    Exec { id: String, options: exec::Options },
    List { format: Format },
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    #[default]
    Text,
    Json,
}

type Answer<T> = Result<T, String>;

impl Arguments {
    pub fn parse(words: impl Iterator<Item = OsString>) -> Answer<Arguments> {
        let words: Vec<String> = words
            .map(|word| word.into_string().map_err(|word| format!("{word:?} is not UTF-8")))
            .collect::<Answer<_>>()?;
        let mut words = Words(words.into_iter().collect());
        let mut arguments = Arguments {
            root: None,
            log: None,
            log_format: Format::Text,
            verb: Verb::Help,
        };
        while let Some((name, value)) = words.option()? {
            match name.as_str() {
                "--root" => arguments.root = Some(words.value(&name, value)?.into()),
                "--log" => arguments.log = Some(words.value(&name, value)?.into()),
                "--log-format" => arguments.log_format = format(&words.value(&name, value)?, "text")?,
                "--help" | "-h" => return Ok(arguments),
                "--version" | "-v" => {
                    arguments.verb = Verb::Version;
                    return Ok(arguments);
                }
                _ => return Err(unknown(&name)),
            }
        }
        arguments.verb = verb(&mut words)?;
        words.end()?;
        Ok(arguments)
    }
}

fn verb(words: &mut Words) -> Answer<Verb> {
    let verb = words.0.pop_front().ok_or("no verb is given")?;
    match verb.as_str() {
        "create" => create_options(words, true).map(|(id, options)| Verb::Create { id, options }),
        "run" => create_options(words, false).map(|(id, options)| Verb::Run { id, options }),
        "start" => words.no_options().and_then(|()| Ok(Verb::Start { id: words.id()? })),
        "state" => words.no_options().and_then(|()| Ok(Verb::State { id: words.id()? })),
        "kill" => kill(words),
        "delete" => {
            let force = words.flag("--force", "-f")?;
            let id = words.id()?;
            let force = words.flag("--force", "-f")? || force;
            Ok(Verb::Delete { id, force })
        }
        "exec" => execute(words),
        "list" => list(words),
        _ => Err(format!("`{verb}` is no verb")),
    }
}

/// Options stand before the id or behind it.
fn create_options(words: &mut Words, console: bool) -> Answer<(String, create::Options)> {
    let mut options = create::Options {
        bundle: ".".into(),
        pid_file: None,
        console_socket: None,
    };
    let mut id = None;
    loop {
        while let Some((name, value)) = words.option()? {
            match name.as_str() {
                "--bundle" | "-b" => options.bundle = words.value(&name, value)?.into(),
                "--pid-file" => options.pid_file = Some(words.value(&name, value)?.into()),
                "--console-socket" if console => options.console_socket = Some(words.value(&name, value)?.into()),
                _ => return Err(unknown(&name)),
            }
        }
        match id {
            None => id = Some(words.id()?),
            Some(id) => return Ok((id, options)),
        }
    }
}

fn kill(words: &mut Words) -> Answer<Verb> {
    let all = words.flag("--all", "-a")?;
    let id = words.id()?;
    let all = words.flag("--all", "-a")? || all;
    let signal = words.0.pop_front();
    let signal = parse_signal(signal.as_deref().unwrap_or("TERM")).map_err(|error| error.to_string())?;
    Ok(Verb::Kill { id, signal, all })
}

fn execute(words: &mut Words) -> Answer<Verb> {
    let mut options = exec::Options::default();
    while let Some((name, value)) = words.option()? {
        match name.as_str() {
            "--process" | "-p" => options.process = Some(words.value(&name, value)?.into()),
            "--cwd" => options.cwd = Some(words.value(&name, value)?.into()),
            "--user" | "-u" => options.user = Some(user(&words.value(&name, value)?)?),
            "--env" | "-e" => options.env.push(words.value(&name, value)?),
            "--console-socket" => options.console_socket = Some(words.value(&name, value)?.into()),
            "--pid-file" => options.pid_file = Some(words.value(&name, value)?.into()),
            "--tty" | "-t" if value.is_none() => options.terminal = true,
            "--detach" | "-d" if value.is_none() => options.detach = true,
            _ => return Err(unknown(&name)),
        }
    }
    let id = words.id()?;
    if words.0.front().is_some_and(|word| word == "--") {
        words.0.pop_front();
    }
    options.args = words.0.drain(..).collect();
    if options.process.is_some() && !options.args.is_empty() {
        return Err("--process brings its own arguments".into());
    }
    if options.process.is_none() && options.args.is_empty() {
        return Err("exec needs a program or --process".into());
    }
    Ok(Verb::Exec { id, options })
}

fn list(words: &mut Words) -> Answer<Verb> {
    let mut chosen = Format::Text;
    while let Some((name, value)) = words.option()? {
        match name.as_str() {
            "--format" | "-f" => chosen = format(&words.value(&name, value)?, "table")?,
            _ => return Err(unknown(&name)),
        }
    }
    Ok(Verb::List { format: chosen })
}

fn format(word: &str, text: &str) -> Answer<Format> {
    match word {
        "json" => Ok(Format::Json),
        word if word == text => Ok(Format::Text),
        _ => Err(format!("`{word}` is no format: {text} or json")),
    }
}

/// `UID` or `UID:GID`, in numbers: names are for whoever knows the image.
fn user(text: &str) -> Answer<(u32, u32)> {
    let (uid, gid) = text.split_once(':').unwrap_or((text, "0"));
    // The last number means "leave it as it is" to the kernel (CVE-2024-40635 began with such a number).
    let number = |text: &str| text.parse().ok().filter(|number| *number != u32::MAX);
    number(uid)
        .zip(number(gid))
        .ok_or_else(|| format!("`{text}` is no UID[:GID]"))
}

fn unknown(option: &str) -> String {
    format!("{option} is not supported here")
}

/// What is left to be read.
struct Words(std::collections::VecDeque<String>);

impl Words {
    /// The next word if it is an option, with what follows its `=`.
    fn option(&mut self) -> Answer<Option<(String, Option<String>)>> {
        match self.0.front() {
            Some(word) if word == "--" => Ok(None),
            Some(word) if word.starts_with('-') => {
                let word = self.0.pop_front().unwrap_or_default();
                Ok(Some(match word.split_once('=') {
                    Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                    None => (word, None),
                }))
            }
            _ => Ok(None),
        }
    }

    fn value(&mut self, name: &str, value: Option<String>) -> Answer<String> {
        value
            .or_else(|| self.0.pop_front())
            .ok_or_else(|| format!("{name} needs a value"))
    }

    /// For verbs with at most one option, which takes no value.
    fn flag(&mut self, long: &str, short: &str) -> Answer<bool> {
        let mut found = false;
        while let Some((name, value)) = self.option()? {
            match [long, short].contains(&name.as_str()) && value.is_none() {
                true => found = true,
                false => return Err(unknown(&name)),
            }
        }
        Ok(found)
    }

    fn no_options(&mut self) -> Answer<()> {
        match self.option()? {
            Some((name, _)) => Err(unknown(&name)),
            None => Ok(()),
        }
    }

    fn id(&mut self) -> Answer<String> {
        self.0.pop_front().ok_or_else(|| "no container id is given".into())
    }

    fn end(&self) -> Answer<()> {
        match self.0.front() {
            Some(word) => Err(format!("`{word}` is one argument too many")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Answer<Arguments> {
        Arguments::parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn both_ways_of_writing_an_option_mean_the_same() {
        for line in ["--root /r run --bundle /b one", "--root=/r run --bundle=/b one"] {
            let arguments = parse(line).unwrap();
            assert_eq!(arguments.root, Some("/r".into()));
            let Verb::Run { id, options } = arguments.verb else {
                panic!("{line}")
            };
            assert_eq!((id.as_str(), options.bundle), ("one", "/b".into()));
        }
    }

    #[test]
    fn options_stand_on_either_side_of_the_id() {
        for line in [
            "create -b /b --pid-file /p one",
            "create one --bundle /b --pid-file=/p",
            "create --pid-file /p one -b /b",
        ] {
            let Verb::Create { id, options } = parse(line).unwrap().verb else {
                panic!("{line}")
            };
            assert_eq!((id.as_str(), options.bundle), ("one", "/b".into()), "{line}");
            assert_eq!(options.pid_file, Some("/p".into()), "{line}");
        }
        for line in ["delete -f one", "delete one --force"] {
            assert!(
                matches!(parse(line).unwrap().verb, Verb::Delete { force: true, .. }),
                "{line}"
            );
        }
        for line in ["kill -a one 9", "kill one --all KILL"] {
            let verb = parse(line).unwrap().verb;
            assert!(
                matches!(
                    verb,
                    Verb::Kill {
                        all: true,
                        signal: 9,
                        ..
                    }
                ),
                "{line}"
            );
        }
    }

    #[test]
    fn what_follows_the_id_of_exec_is_the_program() {
        for line in ["exec --user 5 one sh -c --tty", "exec --user 5 one -- sh -c --tty"] {
            let Verb::Exec { id, options } = parse(line).unwrap().verb else {
                panic!("{line}")
            };
            assert_eq!(id, "one");
            assert_eq!((options.user, options.terminal), (Some((5, 0)), false));
            assert_eq!(options.args, ["sh", "-c", "--tty"]);
        }
    }

    #[test]
    fn wrong_usage_is_told() {
        let cases = [
            ("", "no verb"),
            ("fly one", "no such verb"),
            ("start", "no id"),
            ("start one two", "too much"),
            (
                "--systemd-cgroup create one",
                "cgroups are never left to another program",
            ),
            (
                "create --no-pivot one",
                "without pivot_root the host's root stays reachable",
            ),
            (
                "run --console-socket /s one",
                "a foreground container has this program's streams",
            ),
            ("kill one FOO", "no such signal"),
            ("exec one", "nothing to execute"),
            ("exec --user root one id", "a name instead of a number"),
            ("exec --user 4294967295 one id", "a number that is none"),
            ("exec --process /p one id", "two programs"),
            ("delete --force=yes one", "a flag with a value"),
            ("list --format yaml", "no such format"),
        ];
        for (line, reason) in cases {
            assert!(parse(line).is_err(), "{line}: {reason}");
        }
    }
}
