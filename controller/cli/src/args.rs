//! What was typed. Nothing here decides; each command's file says what its arguments mean.

use std::path::PathBuf;
use std::str::FromStr;

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

const EXIT_CODES: &str = "Exit codes: 0 done; 1 failed; 2 `plan` found changes; 64 wrong usage; 130 interrupted. \
`exec` and `run` end with the exit code of what they ran.";

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
    /// For a pull request; `plan` alone has it, and says so
    #[value(hide = true)]
    Markdown,
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
    /// Show what `apply` would do, field by field; `-o markdown` for a pull request
    Plan(PlanArgs),
    /// Print what a target is given, in its own words; `--app`: the App as a Kubernetes object
    Render(RenderArgs),
    /// Write the manifest of Deployments that a cluster has already
    #[cfg(feature = "kubernetes")]
    Import(ImportAppArgs),
    /// Build, push, apply, and wait until all is ready
    Apply(ApplyArgs),
    /// `apply` on this machine
    Up(UpArgs),
    /// Let a rollout that pauses go on, and wait as `apply` does
    Promote(PromoteArgs),
    /// Try again what is held, as it was applied
    Retry(RetryArgs),
    /// Bring back what an earlier generation was, as a new generation
    Rollback(RollbackArgs),
    /// Show where apps stand
    Status(SelectArgs),
    /// Wait until apps are ready, or gone
    Wait(WaitArgs),
    /// Show what containers wrote
    Logs(LogsArgs),
    /// Show what running containers use, beside their limits
    Stats(SelectArgs),
    /// Run a command in a container
    Exec(ExecArgs),
    /// Lead ports of this machine to those of a service
    PortForward(PortForwardArgs),
    /// Run a job again
    Run(RunArgs),
    /// List the generations of an app and what changed in each
    History(SelectArgs),
    /// Keep apps as the manifests in folders say, until it is stopped
    Controller(ControllerArgs),
    /// Tell the controller to leave apps alone until `resume`
    Suspend(SelectArgs),
    /// Tell the controller to go on with apps
    Resume(SelectArgs),
    /// Tell the controller to reconcile apps now, with images looked up and built anew
    Reconcile(SelectArgs),
    /// Let the controller carry out the plan that waits for approval
    Approve(ApproveArgs),
    /// Take an app away; named volumes stay unless --volumes
    Delete(DeleteArgs),
    /// Build the images of an app, or one Dockerfile
    Build(BuildArgs),
    /// Push an image of the local store to its registry
    Push(PushArgs),
    /// Pull an image into the local store
    Pull(PullArgs),
    /// Look after the local image store
    #[command(subcommand)]
    Image(ImageCommand),
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

impl Command {
    /// As it was typed, for spans.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Init(_) => "init",
            Self::Validate(_) => "validate",
            Self::Check(_) => "check",
            Self::Plan(_) => "plan",
            Self::Render(_) => "render",
            #[cfg(feature = "kubernetes")]
            Self::Import(_) => "import",
            Self::Apply(_) => "apply",
            Self::Up(_) => "up",
            Self::Promote(_) => "promote",
            Self::Retry(_) => "retry",
            Self::Rollback(_) => "rollback",
            Self::Status(_) => "status",
            Self::Wait(_) => "wait",
            Self::Logs(_) => "logs",
            Self::Stats(_) => "stats",
            Self::Exec(_) => "exec",
            Self::PortForward(_) => "port-forward",
            Self::Run(_) => "run",
            Self::History(_) => "history",
            Self::Controller(_) => "controller",
            Self::Suspend(_) => "suspend",
            Self::Resume(_) => "resume",
            Self::Reconcile(_) => "reconcile",
            Self::Approve(_) => "approve",
            Self::Delete(_) => "delete",
            Self::Build(_) => "build",
            Self::Push(_) => "push",
            Self::Pull(_) => "pull",
            Self::Image(_) => "image",
            #[cfg(feature = "local")]
            Self::Doctor => "doctor",
            Self::Explain(_) => "explain",
            Self::Schema => "schema",
            Self::Crd => "crd",
            Self::Completion(_) => "completion",
            Self::Man(_) => "man",
        }
    }
}

/// Where the manifests are.
#[derive(Clone, Debug, Default, Args)]
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

/// As [`SelectArgs`] where the positional arguments mean something else.
#[derive(Clone, Debug, Args)]
pub struct OneAppArgs {
    #[command(flatten)]
    pub manifests: ManifestArgs,
    /// App, as NAME or NAMESPACE/NAME; needed where the manifests hold several
    #[arg(short, long, value_name = "APP")]
    pub app: Option<String>,
    /// Target to work on
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
pub struct PlanArgs {
    #[command(flatten)]
    pub select: SelectArgs,
    #[command(flatten)]
    pub allow: AllowArgs,
    /// Keep the plan in a file, for `portolan apply --plan`
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// What a plan may do that it otherwise refuses.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct AllowArgs {
    /// Let the plan delete what holds data
    #[arg(long)]
    pub allow_data_loss: bool,
    /// Make resources of others, under our names, ours
    #[arg(long)]
    pub take_over: bool,
    /// Ask before more than so many resources are deleted [default: 10]
    #[arg(long, value_name = "NUMBER")]
    pub prune_threshold: Option<usize>,
}

#[derive(Debug, Args)]
pub struct ApplyArgs {
    #[command(flatten)]
    pub select: SelectArgs,
    #[command(flatten)]
    pub how: CarryArgs,
    /// Carry out the plan that `portolan plan --out` kept, and nothing else; refused once the target has moved
    #[arg(long, value_name = "FILE", conflicts_with_all = ["files", "apps", "target", "allow_data_loss", "take_over", "prune_threshold"])]
    pub plan: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct UpArgs {
    #[command(flatten)]
    pub manifests: ManifestArgs,
    /// Apps, as NAME or NAMESPACE/NAME [default: all in the manifests]
    #[arg(value_name = "APP")]
    pub apps: Vec<String>,
    #[command(flatten)]
    pub how: CarryArgs,
}

/// How a plan is carried out.
#[derive(Clone, Copy, Debug, Args)]
pub struct CarryArgs {
    #[command(flatten)]
    pub allow: AllowArgs,
    /// Answer every question with yes
    #[arg(short, long)]
    pub yes: bool,
    /// Return once everything is applied, without waiting until it is ready
    #[arg(long)]
    pub no_wait: bool,
    /// Show the plan and change nothing: ends as `plan` does
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Debug, Args)]
pub struct ControllerArgs {
    /// Files or folders to read manifests from, and to watch
    #[cfg_attr(
        feature = "kubernetes",
        arg(value_name = "DIR", required_unless_present = "kubernetes")
    )]
    #[cfg_attr(not(feature = "kubernetes"), arg(value_name = "DIR", required = true))]
    pub paths: Vec<PathBuf>,
    /// Keep the Apps of a cluster instead, which are Kubernetes objects there
    #[cfg(feature = "kubernetes")]
    #[arg(long, conflicts_with_all = ["paths", "target"])]
    pub kubernetes: bool,
    /// With --kubernetes: the namespace whose Apps are kept [default: all]
    #[cfg(feature = "kubernetes")]
    #[arg(long, value_name = "NAME", requires = "kubernetes")]
    pub namespace: Option<String>,
    /// With --kubernetes: into how many shards Apps are divided, of which each process takes its share; the same for all
    /// [default: 1]
    #[cfg(feature = "kubernetes")]
    #[arg(long, value_name = "NUMBER", requires = "kubernetes", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub shards: Option<u32>,
    /// With --kubernetes: also say no to wrong Apps and Targets before they are stored, at this address [default: do not]
    #[cfg(feature = "kubernetes")]
    #[arg(long, value_name = "ADDRESS", requires_all = ["kubernetes", "webhook_certificate"])]
    pub webhook: Option<std::net::SocketAddr>,
    /// With --webhook: the folder with its tls.crt and tls.key, which are read anew when they change
    #[cfg(feature = "kubernetes")]
    #[arg(long, value_name = "DIR", requires = "webhook")]
    pub webhook_certificate: Option<std::path::PathBuf>,
    /// With --kubernetes: the kubeconfig's context [default: the current one, or the cluster that this runs in]
    #[cfg(feature = "kubernetes")]
    #[arg(long, value_name = "NAME", requires = "kubernetes")]
    pub context: Option<String>,
    /// Target to work on [default: all]
    #[arg(short, long, value_name = "NAME")]
    pub target: Option<String>,
    /// Address for health checks, metrics and the page, or `none`
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9465")]
    pub listen: String,
    /// The longest pause between two looks at an app that does not move
    #[arg(long, value_name = "DURATION", default_value = "10m")]
    pub resync: String,
}

#[cfg(feature = "kubernetes")]
impl ControllerArgs {
    /// What was said that only Apps of a cluster have. Their `requires` passes where a DIR is there, which conflicts with what
    /// they require.
    pub fn of_a_cluster(&self) -> Option<&'static str> {
        let said = [
            ("--namespace", self.namespace.is_some()),
            ("--shards", self.shards.is_some()),
            ("--webhook", self.webhook.is_some()),
            ("--context", self.context.is_some()),
        ];
        said.into_iter().find(|(_, is_said)| *is_said).map(|(name, _)| name)
    }
}

#[derive(Debug, Args)]
pub struct ApproveArgs {
    #[command(flatten)]
    pub manifests: ManifestArgs,
    /// App, as NAME or NAMESPACE/NAME; needed where the manifests hold several
    #[arg(value_name = "APP")]
    pub app: Option<String>,
    /// Target to work on
    #[arg(short, long, value_name = "NAME")]
    pub target: Option<String>,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
}

#[derive(Debug, Args)]
pub struct RenderArgs {
    #[command(flatten)]
    pub select: SelectArgs,
    /// The App itself instead, as an object for the controller of a cluster: for one target, with its overrides merged in
    #[arg(long)]
    pub app: bool,
    /// Build what has a `build`, push it below REPOSITORY, and name it by its digest
    #[arg(long, value_name = "REPOSITORY", requires = "app")]
    pub push: Option<String>,
}

#[cfg(feature = "kubernetes")]
#[derive(Debug, Args)]
pub struct ImportAppArgs {
    /// Deployments [default: all that Portolan has not made]
    #[arg(value_name = "DEPLOYMENT")]
    pub deployments: Vec<String>,
    /// Namespace of the cluster that they are in
    #[arg(short, long, value_name = "NAME", default_value = "default")]
    pub namespace: String,
    /// Context of the kubeconfig [default: its current one]
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
    /// What the App is called
    #[arg(long, value_name = "NAME", default_value = "imported")]
    pub app: String,
}

#[derive(Debug, Args)]
pub struct PromoteArgs {
    #[command(flatten)]
    pub manifests: ManifestArgs,
    /// App, as NAME or NAMESPACE/NAME; needed where the manifests hold several
    #[arg(value_name = "APP")]
    pub app: Option<String>,
    /// Service [default: all that pause]
    #[arg(value_name = "SERVICE", requires = "app")]
    pub service: Option<String>,
    /// Target to work on
    #[arg(short, long, value_name = "NAME")]
    pub target: Option<String>,
    /// To the end, with no further pause
    #[arg(long)]
    pub full: bool,
    /// Say what waits, and promote nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Return at once
    #[arg(long)]
    pub no_wait: bool,
}

#[derive(Debug, Args)]
pub struct RetryArgs {
    #[command(flatten)]
    pub select: SelectArgs,
    #[command(flatten)]
    pub how: CarryArgs,
}

#[derive(Debug, Args)]
pub struct RollbackArgs {
    #[command(flatten)]
    pub manifests: ManifestArgs,
    /// App, as NAME or NAMESPACE/NAME; needed where the manifests hold several
    #[arg(value_name = "APP")]
    pub app: Option<String>,
    /// Target to work on
    #[arg(short, long, value_name = "NAME")]
    pub target: Option<String>,
    /// Generation to bring back [default: the last that converged before the newest]
    #[arg(long, value_name = "GENERATION")]
    pub to: Option<u64>,
    #[command(flatten)]
    pub how: CarryArgs,
}

#[derive(Debug, Args)]
pub struct WaitArgs {
    #[command(flatten)]
    pub select: SelectArgs,
    /// What to wait for; `ready` ends well, and says so, where all that is left waits for `portolan promote`
    #[arg(long = "for", value_enum, default_value = "ready")]
    pub condition: WaitCondition,
    /// How long to wait, as in 90s or 10m
    #[arg(long, default_value = "10m", value_name = "DURATION")]
    pub timeout: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum WaitCondition {
    Ready,
    Deleted,
}

#[derive(Debug, Args)]
pub struct LogsArgs {
    /// Files or folders to read manifests from [default: portolan.yaml here]; `-f` is --follow here
    #[arg(long = "file", value_name = "PATH")]
    pub files: Vec<PathBuf>,
    /// App, as NAME or NAMESPACE/NAME; needed where the manifests hold several
    #[arg(short, long, value_name = "APP")]
    pub app: Option<String>,
    /// Target to read from
    #[arg(short, long, value_name = "NAME")]
    pub target: Option<String>,
    /// Services and jobs [default: all]
    pub workloads: Vec<String>,
    /// Container of the workload [default: all]
    #[arg(short, long)]
    pub container: Option<String>,
    /// Go on with new lines as they come, until Ctrl-C
    #[arg(short, long)]
    pub follow: bool,
    /// Only the last so many lines
    #[arg(long, value_name = "LINES")]
    pub tail: Option<usize>,
    /// Only lines younger than a duration, as in 5m, or not before a time, as in 2026-01-31T08:30:00Z
    #[arg(long, value_name = "DURATION|TIME")]
    pub since: Option<String>,
}

#[derive(Debug, Args)]
pub struct ExecArgs {
    #[command(flatten)]
    pub one: OneAppArgs,
    /// Service whose container to use
    pub service: String,
    /// Replica, as `status` and `logs` name it [default: any that is ready]
    #[arg(short, long)]
    pub replica: Option<String>,
    /// Container of the replica [default: the service's own]
    #[arg(short, long)]
    pub container: Option<String>,
    /// Command and its arguments, after `--`
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub argv: Vec<String>,
}

#[derive(Debug, Args)]
pub struct PortForwardArgs {
    #[command(flatten)]
    pub one: OneAppArgs,
    /// Service to reach
    pub service: String,
    /// Ports of the service, each behind the same port of this machine or another one; 0 is one that is free
    #[arg(required = true, value_name = "[LOCAL:]PORT")]
    pub ports: Vec<PortPair>,
    /// Replica, as `status` and `logs` name it [default: for each connection any that is ready]
    #[arg(short, long)]
    pub replica: Option<String>,
}

/// `8080`, or `9000:8080`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortPair {
    pub local: u16,
    pub port: u16,
}

impl FromStr for PortPair {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (local, port) = text.split_once(':').unwrap_or((text, text));
        let number = |text: &str| text.parse::<u16>().map_err(|_| format!("`{text}` is no port"));
        match (number(local)?, number(port)?) {
            (_, 0) => Err("nobody listens on port 0".to_string()),
            (local, port) => Ok(Self { local, port }),
        }
    }
}

#[derive(Debug, Args)]
pub struct RunArgs {
    #[command(flatten)]
    pub one: OneAppArgs,
    /// Job to run again
    pub job: String,
    /// Say whether it could be, and run nothing
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Debug, Args)]
pub struct DeleteArgs {
    #[command(flatten)]
    pub select: SelectArgs,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
    /// Erase named volumes and the records of jobs too
    #[arg(long)]
    pub volumes: bool,
    /// Show the plan and change nothing: ends as `plan` does
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Debug, Args)]
pub struct BuildArgs {
    #[command(flatten)]
    pub manifests: ManifestArgs,
    /// Build this context folder instead of an app
    #[arg(value_name = "CONTEXT")]
    pub context: Option<PathBuf>,
    /// Dockerfile, relative to the context
    #[arg(long, default_value = "Dockerfile", requires = "context")]
    pub dockerfile: PathBuf,
    /// Reference to keep the image under
    #[arg(long, value_name = "REFERENCE", requires = "context")]
    pub tag: Option<String>,
    /// Stage to build
    #[arg(long = "stage", value_name = "NAME", requires = "context")]
    pub stage: Option<String>,
    /// Value of an ARG, as NAME=VALUE
    #[arg(long = "build-arg", value_name = "NAME=VALUE", requires = "context")]
    pub build_args: Vec<String>,
}

#[derive(Debug, Args)]
pub struct PushArgs {
    /// Image of the local store
    pub image: String,
    /// Reference to push it as [default: its own]
    pub destination: Option<String>,
}

#[derive(Debug, Args)]
pub struct PullArgs {
    /// Image to pull
    pub image: String,
}

#[derive(Debug, Subcommand)]
pub enum ImageCommand {
    /// List the images of the local store
    Ls,
    /// Import a root file system (folder or tar), a docker-archive, or an OCI layout
    Import(ImportArgs),
    /// Remove images from the local store, and what only they use
    Rm(RemoveArgs),
}

#[derive(Debug, Args)]
pub struct ImportArgs {
    /// Folder or archive to import
    pub path: PathBuf,
    /// Reference to keep it under
    #[arg(long, value_name = "REFERENCE")]
    pub name: String,
}

#[derive(Debug, Args)]
pub struct RemoveArgs {
    /// References to remove
    #[arg(required = true, value_name = "REFERENCE")]
    pub references: Vec<String>,
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
