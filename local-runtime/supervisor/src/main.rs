//! The program `portolan-supervisor`: one app's platform on this machine. Started by a client, never by hand.
//!
//! With `--keep` it goes on in the background as the app's keeper instead, which starts the supervisor, and ends in the
//! foreground once that listens; with `--keep-running-one` it is the keeper of a supervisor that has lost its own; with
//! `--outside` what an unprivileged user's app leaves in the machine's network, and with `--outside-beside` the other
//! one of these.
//!
//! Exit codes: 0 after a hand-over, when nothing was left, or when another one serves the app already; 1 on a failure,
//! told in the last line of the log; 2 on wrong arguments.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use portolan_supervisor::balance::HostSockets;
use portolan_supervisor::driver::{self, Settings};
use portolan_supervisor::error::chain;
use portolan_supervisor::keeper::{self, KeeperError};
use portolan_supervisor::launch::{self, Detached};
use portolan_supervisor::outside;

const USAGE: &str = "usage: portolan-supervisor --app NAMESPACE/NAME --run-dir DIR --state-dir DIR --data-dir DIR \
                     --runtime PROGRAM [--port-helper SOCKET] [--outside | --keep | --keep-running-one]";

fn main() -> ExitCode {
    let mut words: Vec<OsString> = std::env::args_os().skip(1).collect();
    let mode = words.pop_if(|word| {
        matches!(
            word.to_str(),
            Some("--outside" | "--outside-beside" | "--keep" | "--keep-running-one")
        )
    });
    let Some(settings) = Settings::parse(&words) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match mode.as_ref().and_then(|mode| mode.to_str()) {
        Some("--outside") => stay_outside(words, &settings, outside::serve),
        Some("--outside-beside") => stay_outside(words, &settings, outside::serve_beside),
        Some("--keep") => begin_keeping(words, settings),
        Some(_) => keep(words, settings, false),
        None => supervise(settings),
    }
}

fn begin_keeping(words: Vec<OsString>, settings: Settings) -> ExitCode {
    match launch::detach(&words, &settings) {
        Ok(Detached::Keeper) => keep(words, settings, true),
        Ok(Detached::Caller) => ExitCode::SUCCESS,
        Ok(Detached::Failed) => ExitCode::FAILURE,
        Err(error) => failed(&error),
    }
}

fn stay_outside(
    words: Vec<OsString>,
    settings: &Settings,
    serve_there: fn(&Path, Vec<OsString>) -> io::Result<()>,
) -> ExitCode {
    let HostSockets::Helper(socket) = &settings.host else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match serve(c"portolan-ports", async { serve_there(socket, words) }) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) | Err(error) => failed(&error),
    }
}

fn keep(arguments: Vec<OsString>, settings: Settings, start: bool) -> ExitCode {
    let settings = keeper::Settings {
        run_dir: settings.paths.run,
        host: settings.host,
        arguments,
        start,
    };
    match serve(c"portolan-keeper", keeper::keep(settings)) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        // The supervisor's own last line is the one to be read.
        Ok(Err(KeeperError::NothingBegun | KeeperError::EndedAgain)) => ExitCode::FAILURE,
        Ok(Err(error)) => failed(&error),
        Err(error) => failed(&error),
    }
}

fn supervise(settings: Settings) -> ExitCode {
    match serve(c"portolan-supervisor", driver::run(settings)) {
        Ok(Ok(ending)) => {
            tracing::info!(?ending, "the supervisor ends");
            ExitCode::SUCCESS
        }
        Ok(Err(error)) => failed(&error),
        Err(error) => failed(&error),
    }
}

/// On one thread, in a session of its own, under its own name in lists of processes, with a log on standard error.
fn serve<T>(name: &std::ffi::CStr, work: impl Future<Output = T>) -> io::Result<T> {
    nix::sys::prctl::set_name(name)?;
    // Fails for the leader of a group alone, which has no terminal to lose then.
    let _ = nix::unistd::setsid();
    let filter =
        tracing_subscriber::EnvFilter::try_from_env("PORTOLAN_SUPERVISOR_LOG").unwrap_or_else(|_| "info".into());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(std::io::stderr)
        .init();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(work))
}

fn failed(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("{}", chain(error));
    ExitCode::FAILURE
}
