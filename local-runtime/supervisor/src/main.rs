//! The program `portolan-supervisor`: one app's platform on this machine. Started by a client, never by hand.
//!
//! Exit codes: 0 after a hand-over, when nothing was left, or when another one serves the app already; 1 on a failure,
//! told in the last line of the log; 2 on wrong arguments.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use portolan_supervisor::driver::{self, Settings};
use portolan_supervisor::launch;

const USAGE: &str = "usage: portolan-supervisor --app NAMESPACE/NAME --run-dir DIR --state-dir DIR --data-dir DIR \
                     --runtime PROGRAM [--detach]";

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let Some((settings, detached)) = parse(&arguments) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    if detached {
        let own = arguments.into_iter().filter(|a| a != "--detach");
        return match launch::detach(own, &settings.paths.run) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(error) => {
                eprintln!("portolan-supervisor: {error}");
                ExitCode::FAILURE
            }
        };
    }
    serve(settings)
}

fn serve(settings: Settings) -> ExitCode {
    // Fails for the leader of a group alone, which has no terminal to lose then.
    let _ = nix::unistd::setsid();
    let filter =
        tracing_subscriber::EnvFilter::try_from_env("PORTOLAN_SUPERVISOR_LOG").unwrap_or_else(|_| "info".into());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(std::io::stderr)
        .init();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error),
    };
    match runtime.block_on(driver::run(settings)) {
        Ok(ending) => {
            tracing::info!(?ending, "the supervisor ends");
            ExitCode::SUCCESS
        }
        Err(error) => failed(&error),
    }
}

fn failed(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("{}", portolan_supervisor::error::chain(error));
    ExitCode::FAILURE
}

fn parse(arguments: &[OsString]) -> Option<(Settings, bool)> {
    let mut values = std::collections::BTreeMap::new();
    let mut detached = false;
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.to_str()? {
            "--detach" => detached = true,
            name @ ("--app" | "--run-dir" | "--state-dir" | "--data-dir" | "--runtime") => {
                values.insert(name, rest.next()?);
            }
            _ => return None,
        }
    }
    let folder = |name| {
        values
            .get(name)
            .map(|value| PathBuf::from(*value))
            .filter(|path| path.is_absolute())
    };
    let app = values.get("--app")?.to_str()?.to_string();
    let paths = driver::Paths {
        run: folder("--run-dir")?,
        state: folder("--state-dir")?,
        data: folder("--data-dir")?,
    };
    let settings = Settings::new(app, paths, folder("--runtime")?);
    Some((settings, detached))
}
