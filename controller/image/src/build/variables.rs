//! The variables of a stage: ENV, which goes into the image, over ARG, which does not; and the values that a build is
//! given for its ARGs.

use std::collections::BTreeMap;

use super::error::StepError;
use crate::dockerfile::{Argument, Text};
use crate::manifest::host_architecture;

/// ARGs that need no declaration, reach RUN, and are no part of a cache key: they say how this machine reaches others.
const PROXIES: [&str; 10] = [
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "FTP_PROXY",
    "ftp_proxy",
    "NO_PROXY",
    "no_proxy",
    "ALL_PROXY",
    "all_proxy",
];

/// What FROM lines and stages start with: the values of the build, and the ARGs before the first FROM.
#[derive(Debug, Clone, Default)]
pub(super) struct Globals {
    /// `--build-arg` and its like.
    given: BTreeMap<String, String>,
    /// ARGs before the first FROM that have a value.
    declared: BTreeMap<String, String>,
    /// `TARGETARCH` and its like.
    platform: BTreeMap<String, String>,
}

/// The variables of one stage. A stage that builds on another starts with a copy of its scope, ARGs included.
#[derive(Debug, Clone, Default)]
pub(super) struct Scope {
    globals: Globals,
    escape: char,
    /// In order, as the image's configuration keeps them.
    env: Vec<(String, String)>,
    args: BTreeMap<String, String>,
}

impl Globals {
    pub fn new(given: &BTreeMap<String, String>, target: &str) -> Self {
        let arch = host_architecture();
        let host = format!("linux/{arch}");
        let platform = [
            ("BUILDPLATFORM", host.as_str()),
            ("BUILDOS", "linux"),
            ("BUILDARCH", arch),
            ("BUILDVARIANT", ""),
            ("TARGETPLATFORM", host.as_str()),
            ("TARGETOS", "linux"),
            ("TARGETARCH", arch),
            ("TARGETVARIANT", ""),
            ("TARGETSTAGE", target),
        ];
        let platform = platform.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        Self {
            given: given.clone(),
            declared: BTreeMap::new(),
            platform,
        }
    }

    /// Takes in one ARG from before the first FROM.
    pub fn declare(&mut self, argument: &Argument, escape: char) -> Result<(), String> {
        let default = argument
            .default
            .as_ref()
            .map(|text| self.expand(text, escape))
            .transpose()?;
        if let Some(value) = self.given.get(&argument.name).cloned().or(default) {
            self.declared.insert(argument.name.clone(), value);
        }
        Ok(())
    }

    /// A word of a FROM line.
    pub fn expand(&self, text: &Text, escape: char) -> Result<String, String> {
        let value = |name: &str| self.declared.get(name).or_else(|| self.platform.get(name)).cloned();
        text.expand(escape, &value).map_err(|error| error.cause)
    }
}

impl Scope {
    /// The scope of a stage whose base image has the variables `env`, each `NAME=value`.
    pub fn new(globals: Globals, escape: char, env: &[String]) -> Self {
        let pair = |entry: &String| {
            entry
                .split_once('=')
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
        };
        Self {
            globals,
            escape,
            env: env.iter().filter_map(pair).collect(),
            args: BTreeMap::new(),
        }
    }

    pub fn declare(&mut self, arguments: &[Argument]) -> Result<(), StepError> {
        for argument in arguments {
            let name = &argument.name;
            let default = argument.default.as_ref().map(|text| self.expand(text)).transpose()?;
            let globals = &self.globals;
            let inherited = || {
                globals
                    .declared
                    .get(name)
                    .or_else(|| globals.platform.get(name))
                    .cloned()
            };
            if let Some(value) = globals.given.get(name).cloned().or(default).or_else(inherited) {
                self.args.insert(name.clone(), value);
            }
        }
        Ok(())
    }

    pub fn set_env(&mut self, name: &str, value: &str) {
        match self.env.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => value.clone_into(known),
            None => self.env.push((name.to_owned(), value.to_owned())),
        }
    }

    /// `NAME=value`, as the image's configuration keeps them.
    pub fn env(&self) -> Vec<String> {
        self.env.iter().map(|(name, value)| format!("{name}={value}")).collect()
    }

    /// What a RUN sees: the image's variables over the stage's ARGs.
    pub fn run_env(&self) -> BTreeMap<String, String> {
        self.args.clone().into_iter().chain(self.env.iter().cloned()).collect()
    }

    /// The proxies that the build was given, for RUN.
    pub fn proxies(&self) -> BTreeMap<String, String> {
        let given = |name: &&str| {
            self.globals
                .given
                .get(*name)
                .map(|value| ((*name).to_owned(), value.clone()))
        };
        PROXIES.iter().filter_map(given).collect()
    }

    pub fn expand(&self, text: &Text) -> Result<String, StepError> {
        text.expand(self.escape, &|name| self.value(name))
            .map_err(|error| StepError::invalid(error.cause))
    }

    /// The text of a here-document, in which quotes are only characters.
    pub fn expand_body(&self, body: &str) -> Result<String, StepError> {
        crate::dockerfile::expand::expand_body(body, self.escape, &|name| self.value(name))
            .map_err(|error| StepError::invalid(error.cause))
    }

    fn value(&self, name: &str) -> Option<String> {
        let env = self
            .env
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.clone());
        env.or_else(|| self.args.get(name).cloned())
    }
}

/// Whether an ARG of this name needs no declaration.
pub(super) fn is_predefined(name: &str) -> bool {
    PROXIES.contains(&name)
}
