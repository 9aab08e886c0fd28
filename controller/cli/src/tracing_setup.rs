//! Log lines on stderr: off unless asked for by `-v` or `RUST_LOG`.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

use crate::args::{Global, LogFormat};

/// `-v` shows commands and steps, `-vv` every call; `RUST_LOG` overrides both.
pub fn start(global: &Global) {
    let default = match global.verbose {
        0 => "off",
        1 => "warn,portolan=info,portolan_engine=info",
        _ => "info,portolan=debug,portolan_engine=debug,portolan_image=debug,portolan_provider_local=debug",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        // A span is told when it ends, with the time that it took.
        .with_span_events(FmtSpan::CLOSE)
        .with_writer(std::io::stderr);
    match global.log_format {
        LogFormat::Json => lines.json().with_current_span(true).init(),
        LogFormat::Text => lines.with_ansi(false).with_target(false).init(),
    }
}
