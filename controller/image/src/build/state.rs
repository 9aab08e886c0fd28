//! A stage while it is built: the configuration so far and the layers so far. Instructions that change only the
//! configuration are applied here, purely.

use serde::{Deserialize, Serialize};

use super::cache::chain_id;
use super::error::StepError;
use super::variables::Scope;
use crate::config::{Healthcheck, History, ImageConfig, Nothing};
use crate::dockerfile::{self, Command, Instruction, Text, values};
use crate::manifest::Descriptor;
use crate::store::Digest;

/// A layer of the image: its blob, and the digest of its archive.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Layer {
    pub descriptor: Descriptor,
    pub diff_id: Digest,
}

#[derive(Debug, Clone)]
pub(super) struct State {
    pub config: ImageConfig,
    /// Bottom first.
    pub layers: Vec<Layer>,
    /// The manifest in the store that the lowest layers are from; unpacking it unpacks them.
    pub base: Option<Digest>,
    pub scope: Scope,
    /// CMD was given in this stage: an ENTRYPOINT after it does not take it away.
    own_cmd: bool,
}

impl State {
    /// A stage on `config` and `layers`, with the variables that the stage starts with.
    pub fn new(config: ImageConfig, layers: Vec<Layer>, base: Option<Digest>, scope: Scope) -> Self {
        Self {
            config,
            layers,
            base,
            scope,
            own_cmd: false,
        }
    }

    /// The identity of the root file system so far.
    pub fn chain_id(&self) -> String {
        chain_id(self.layers.iter().map(|layer| &layer.diff_id))
    }

    /// Absolute; `/` when nothing was said.
    pub fn working_dir(&self) -> &str {
        match self.config.config.working_dir.as_str() {
            "" => "/",
            path => path,
        }
    }

    /// `path` from the working directory on, without `.` and `..`; a path above the root is the root.
    pub fn absolute(&self, path: &str) -> String {
        let from = if path.starts_with('/') { "" } else { self.working_dir() };
        let mut parts: Vec<&str> = Vec::new();
        for part in from.split('/').chain(path.split('/')) {
            match part {
                "" | "." => {}
                ".." => drop(parts.pop()),
                part => parts.push(part),
            }
        }
        format!("/{}", parts.join("/"))
    }

    pub fn expand(&self, text: &Text) -> Result<String, StepError> {
        self.scope.expand(text)
    }

    /// Notes how the newest layer, or a change without one, came to be.
    pub fn note(&mut self, source: &str, created: &str, layer: Option<Layer>) {
        self.config.history.push(History {
            created: Some(created.to_owned()),
            created_by: Some(source.to_owned()),
            empty_layer: layer.is_none(),
            ..History::default()
        });
        if let Some(layer) = layer {
            self.config.rootfs.diff_ids.push(layer.diff_id.clone());
            self.layers.push(layer);
        }
    }

    /// Applies an instruction that makes no layer; of WORKDIR, the part that makes none. COPY and RUN change nothing
    /// of the configuration.
    pub fn apply(&mut self, instruction: &Instruction) -> Result<(), StepError> {
        match instruction {
            Instruction::Arg(arguments) => self.scope.declare(arguments)?,
            Instruction::Env(pairs) => {
                for (name, value) in self.pairs(pairs)? {
                    self.scope.set_env(&name, &value);
                }
                self.config.config.env = self.scope.env();
            }
            Instruction::Label(pairs) => self.config.config.labels.extend(self.pairs(pairs)?),
            Instruction::Cmd(command) => {
                self.own_cmd = true;
                self.config.config.cmd = Some(self.arguments(command));
            }
            Instruction::Entrypoint(command) => {
                self.config.config.entrypoint = Some(self.arguments(command)).filter(|words| !words.is_empty());
                if !self.own_cmd {
                    self.config.config.cmd = None;
                }
            }
            Instruction::Shell(words) => self.config.config.shell = Some(words.clone()),
            Instruction::Workdir(path) => {
                let path = self.expand(path)?;
                self.config.config.working_dir = self.absolute(not_empty("a working directory", &path)?);
            }
            Instruction::User(user) => {
                let user = self.expand(user)?;
                self.config.config.user = not_empty("a user", &user)?.to_owned();
            }
            Instruction::Expose(ports) => self.expose(ports)?,
            Instruction::Volume(paths) => self.volume(paths)?,
            Instruction::StopSignal(signal) => {
                let signal = self.expand(signal)?;
                values::check_signal(&signal).map_err(StepError::invalid)?;
                self.config.config.stop_signal = Some(signal);
            }
            Instruction::Healthcheck(check) => self.config.config.healthcheck = Some(self.healthcheck(check.as_ref())),
            Instruction::Maintainer(author) => self.config.author = Some(author.clone()),
            Instruction::Copy(_) | Instruction::Run(_) => {}
        }
        Ok(())
    }

    /// The words that run `command`, with the shell of this stage where it needs one.
    pub fn arguments(&self, command: &Command) -> Vec<String> {
        match command {
            Command::Exec(words) => words.clone(),
            Command::Shell(line) => self.shell().into_iter().chain([line.clone()]).collect(),
        }
    }

    fn shell(&self) -> Vec<String> {
        let default = || vec!["/bin/sh".to_owned(), "-c".to_owned()];
        self.config
            .config
            .shell
            .clone()
            .filter(|words| !words.is_empty())
            .unwrap_or_else(default)
    }

    /// All are expanded before any is set, as the reference says: `ENV a=1 b=$a` takes the former `a`.
    fn pairs(&self, pairs: &[(Text, Text)]) -> Result<Vec<(String, String)>, StepError> {
        let expand = |(name, value): &(Text, Text)| {
            let name = self.expand(name)?;
            match name.is_empty() || name.contains(['=', '\0']) {
                true => Err(StepError::invalid(format!("{name:?} cannot be a name"))),
                false => Ok((name, self.expand(value)?)),
            }
        };
        pairs.iter().map(expand).collect()
    }

    fn expose(&mut self, ports: &[Text]) -> Result<(), StepError> {
        for port in ports {
            for word in self.expand(port)?.split_whitespace() {
                let ports = values::parse_ports(word).map_err(StepError::invalid)?;
                self.config
                    .config
                    .exposed_ports
                    .extend(ports.into_iter().map(|port| (port, Nothing {})));
            }
        }
        Ok(())
    }

    fn volume(&mut self, paths: &[Text]) -> Result<(), StepError> {
        for path in paths {
            let path = self.expand(path)?;
            if !path.starts_with('/') {
                return Err(StepError::invalid(format!(
                    "the path of a volume, {path:?}, is not absolute"
                )));
            }
            self.config.config.volumes.insert(self.absolute(&path), Nothing {});
        }
        Ok(())
    }

    fn healthcheck(&self, check: Option<&dockerfile::Healthcheck>) -> Healthcheck {
        let Some(check) = check else {
            return Healthcheck {
                test: vec!["NONE".into()],
                ..Healthcheck::default()
            };
        };
        let nanoseconds = |duration: Option<std::time::Duration>| {
            duration.map_or(0, |duration| i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX))
        };
        let test = match &check.command {
            Command::Exec(words) => std::iter::once("CMD".to_owned()).chain(words.iter().cloned()).collect(),
            Command::Shell(line) => vec!["CMD-SHELL".to_owned(), line.clone()],
        };
        Healthcheck {
            test,
            interval: nanoseconds(check.interval),
            timeout: nanoseconds(check.timeout),
            start_period: nanoseconds(check.start_period),
            start_interval: nanoseconds(check.start_interval),
            retries: check.retries.map_or(0, i64::from),
            ..Healthcheck::default()
        }
    }
}

fn not_empty<'a>(what: &str, text: &'a str) -> Result<&'a str, StepError> {
    match text.trim() {
        "" => Err(StepError::invalid(format!(
            "{what} is empty once its variables are replaced"
        ))),
        text => Ok(text),
    }
}
