//! `--log`: failures of this program, one line each, for whoever started it and does not read its standard error.

use std::fs::OpenOptions;
use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::arguments::{Arguments, Format};

pub fn write(arguments: &Arguments, message: &str) {
    let Some(path) = &arguments.log else { return };
    let time = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let time = rfc3339(time);
    let line = match arguments.log_format {
        Format::Json => serde_json::json!({"level": "error", "msg": message, "time": time}).to_string(),
        Format::Text => format!("time={time} level=error msg={message:?}"),
    };
    let written = OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .and_then(|mut log| writeln!(log, "{line}"));
    if let Err(error) = written {
        eprintln!("portolan-runtime: cannot write {}: {error}", path.display());
    }
}

/// Seconds since 1970 as a date and time, by the calendar's 400-year cycle counted from a first of March.
fn rfc3339(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (cycle, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let march_based = (5 * day + 2) / 153;
    let (month, day) = ((march_based + 2) % 12 + 1, day - (153 * march_based + 2) / 5 + 1);
    let year = cycle * 400 + year + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::rfc3339;

    #[test]
    fn seconds_are_dates() {
        let cases = [
            (0, "1970-01-01T00:00:00Z", "the first"),
            (951_782_400, "2000-02-29T00:00:00Z", "a leap day"),
            (1_798_761_599, "2026-12-31T23:59:59Z", "the last second of a year"),
        ];
        for (seconds, expected, reason) in cases {
            assert_eq!(rfc3339(seconds), expected, "{reason}");
        }
    }
}
