//! Words about work that takes time, on stderr: lines that stay, and on a terminal one line below them that follows
//! what goes on now. Nothing at all where a program reads the answer.

use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, PoisonError};

use crate::output::Output;

/// Where progress is told. Several tasks may speak at once.
pub struct Progress {
    silent: bool,
    /// Columns of the terminal, if there is one.
    columns: Option<usize>,
    /// Whether a passing line stands on the terminal now.
    passing: Mutex<bool>,
}

impl Progress {
    pub fn new(output: Output) -> Self {
        let columns = io::stderr().is_terminal().then(|| {
            let size = rustix::termios::tcgetwinsize(io::stderr());
            size.map_or(80, |size| usize::from(size.ws_col).max(20))
        });
        Self {
            silent: output.is_machine(),
            columns,
            passing: Mutex::new(false),
        }
    }

    /// A line that stays.
    pub fn line(&self, text: &str) {
        if self.silent {
            return;
        }
        let mut passing = self.passing.lock().unwrap_or_else(PoisonError::into_inner);
        let clear = if std::mem::take(&mut *passing) { CLEAR } else { "" };
        // Nobody reads words about a broken stderr.
        _ = writeln!(io::stderr(), "{clear}{}", printable(text));
    }

    /// What goes on now: replaced by whatever comes next. A pipe gets none.
    pub fn passing(&self, text: &str) {
        let Some(columns) = self.columns.filter(|_| !self.silent) else {
            return;
        };
        let mut passing = self.passing.lock().unwrap_or_else(PoisonError::into_inner);
        let shown: String = printable(text).chars().take(columns - 1).collect();
        _ = write!(io::stderr(), "{CLEAR}{shown}");
        _ = io::stderr().flush();
        *passing = true;
    }

    /// Takes the passing line away.
    pub fn clear(&self) {
        let mut passing = self.passing.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::take(&mut *passing) {
            _ = write!(io::stderr(), "{CLEAR}");
            _ = io::stderr().flush();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

/// To the first column, and nothing on the line.
const CLEAR: &str = "\r\x1b[K";

/// What a build prints must not draw on the terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
