//! What was typed. Nothing here decides; each command's file says what its arguments mean.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// One manifest, any harbour: declarative deployment of applications.
#[derive(Debug, Parser)]
#[command(name = "portolan", version, propagate_version = true, max_term_width = 120, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 done; 1 failed; 64 wrong usage.";

/// Arguments that every command takes.
#[derive(Debug, Args)]
pub struct Global {
    /// Form of what goes to stdout
    #[arg(
        short,
        long,
        global = true,
        value_enum,
        default_value = "human",
        help_heading = "Global options"
    )]
    pub output: OutputFormat,
    /// Say more on stderr; twice: every call
    #[arg(short, long, global = true, action = clap::ArgAction::Count, help_heading = "Global options")]
    pub verbose: u8,
    /// Form of log lines on stderr
    #[arg(
        long,
        global = true,
        value_enum,
        default_value = "text",
        help_heading = "Global options"
    )]
    pub log_format: LogFormat,
    /// When to use colour
    #[arg(
        long,
        global = true,
        value_enum,
        default_value = "auto",
        help_heading = "Global options"
    )]
    pub color: ColorChoice,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    Human,
    Json,
    Yaml,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ColorChoice {
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write a portolan.yaml to begin with
    Init(InitArgs),
    /// Read manifests and report every fault in them
    Validate(ManifestArgs),
    /// Report how each field of a manifest fares on its targets
    Check(CheckArgs),
    /// Tell what this machine can and cannot do
    #[cfg(feature = "local")]
    Doctor,
    /// Describe a manifest field, as in `explain app.spec.services.health`
    Explain(ExplainArgs),
    /// Print the JSON Schema of the manifest
    Schema,
    /// Print the Kubernetes CustomResourceDefinitions
    Crd,
    /// Print a completion script
    Completion(CompletionArgs),
    /// Print the manual page of a command
    Man(ManArgs),
}

/// Where the manifests are.
#[derive(Clone, Debug, Args)]
pub struct ManifestArgs {
    /// Files or folders to read; folders give their *.yaml and *.yml [default: portolan.yaml here]
    #[arg(short = 'f', long = "file", value_name = "PATH")]
    pub files: Vec<PathBuf>,
}

/// Which apps on which targets.
#[derive(Clone, Debug, Args)]
pub struct SelectArgs {
    #[command(flatten)]
    pub manifests: ManifestArgs,
    /// Apps, as NAME or NAMESPACE/NAME [default: all in the manifests]
    #[arg(value_name = "APP")]
    pub apps: Vec<String>,
    /// Target to work on, or `all`
    #[arg(short, long, value_name = "NAME")]
    pub target: Option<String>,
}

#[derive(Debug, Args)]
pub struct InitArgs {
    /// Folder to write portolan.yaml into
    #[arg(default_value = ".")]
    pub folder: PathBuf,
}

#[derive(Debug, Args)]
pub struct CheckArgs {
    #[command(flatten)]
    pub select: SelectArgs,
    /// Fail unless every field is taken exactly or emulated
    #[arg(long)]
    pub strict: bool,
}

#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// Path of the field, such as `app.spec.services.health`; `env` for the variables that an app sees
    pub field: String,
}

#[derive(Debug, Args)]
pub struct CompletionArgs {
    pub shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
pub struct ManArgs {
    /// Command whose page to print [default: portolan itself]
    pub command: Option<String>,
}
