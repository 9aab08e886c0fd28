//! The small grammars inside instructions: ports, modes, signals, durations. Each function takes a word whose
//! variables are expanded and answers with what is wrong, in one clause.

use std::time::Duration;

/// `80`, `80/udp`, `8000-8003/tcp` -> one `port/protocol` for each port, as the image configuration wants them.
pub fn parse_ports(word: &str) -> Result<Vec<String>, String> {
    let (range, protocol) = word.split_once('/').unwrap_or((word, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(format!("{protocol:?} is not one of the protocols tcp, udp and sctp"));
    }
    let (low, high) = range.split_once('-').unwrap_or((range, range));
    let (low, high) = (parse_port(low)?, parse_port(high)?);
    if high < low {
        return Err(format!("the range of ports {range} ends before it starts"));
    }
    Ok((low..=high).map(|port| format!("{port}/{protocol}")).collect())
}

fn parse_port(text: &str) -> Result<u16, String> {
    let number = text
        .bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())
        .flatten();
    number
        .filter(|port| *port > 0)
        .ok_or_else(|| format!("{text:?} is no port: ports go from 1 to 65535"))
}

/// The octal mode of `--chmod`: `644`, `0755`, `1777`.
pub fn parse_mode(word: &str) -> Result<u32, String> {
    let mode = u32::from_str_radix(word, 8)
        .ok()
        .filter(|mode| *mode <= 0o7777 && !word.starts_with('+'));
    mode.ok_or_else(|| format!("{word:?} is no octal mode such as 0755"))
}

/// `SIGTERM`, `TERM`, `9`, `SIGRTMIN+3`.
pub fn check_signal(word: &str) -> Result<(), String> {
    if word.parse::<u8>().is_ok_and(|number| (1..=64).contains(&number)) {
        return Ok(());
    }
    let upper = word.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let realtime = name.strip_prefix("RTMIN+").or_else(|| name.strip_prefix("RTMAX-"));
    let known = SIGNALS.contains(&name) || realtime.is_some_and(|n| n.parse::<u8>().is_ok_and(|n| n <= 30));
    if known {
        Ok(())
    } else {
        Err(format!("{word:?} is no signal of Linux"))
    }
}

const SIGNALS: [&str; 35] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "IOT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM",
    "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH",
    "IO", "POLL", "PWR", "SYS", "RTMIN", "RTMAX",
];

/// Durations in Go's notation, which HEALTHCHECK uses: `30s`, `1m30s`, `1.5h`, `500ms`. Zero means the default; what
/// is less than a millisecond is refused, as Docker does.
pub fn parse_duration(word: &str) -> Result<Duration, String> {
    let bad = || format!("{word:?} is no duration such as 30s or 1m30s");
    let mut rest = word;
    let mut total = Duration::ZERO;
    if rest == "0" {
        return Ok(total);
    }
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(bad)?;
        let (amount, after) = rest.split_at(number);
        let unit = after
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(unit);
        let seconds = amount.parse::<f64>().map_err(|_| bad())? * seconds_of(unit).ok_or_else(bad)?;
        let part = Duration::try_from_secs_f64(seconds).map_err(|_| bad())?;
        total = total.checked_add(part).ok_or_else(bad)?;
        rest = after;
    }
    match total {
        _ if word.is_empty() => Err(bad()),
        total if total.is_zero() || total >= Duration::from_millis(1) => Ok(total),
        _ => Err(format!("{word} is shorter than a millisecond")),
    }
}

fn seconds_of(unit: &str) -> Option<f64> {
    Some(match unit {
        "ns" => 1e-9,
        "us" | "µs" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports() {
        assert_eq!(parse_ports("80"), Ok(vec!["80/tcp".into()]));
        assert_eq!(parse_ports("53/UDP"), Ok(vec!["53/udp".into()]));
        assert_eq!(parse_ports("1-3/sctp").map(|ports| ports.len()), Ok(3));
        for bad in ["", "0", "65536", "x", "80/icmp", "5-3", "-", "+80", "80/", "8080:80"] {
            assert!(parse_ports(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn modes() {
        assert_eq!(parse_mode("0755"), Ok(0o755));
        assert_eq!(parse_mode("4711"), Ok(0o4711));
        for bad in ["", "8", "u+x", "10000", "+755", "-1"] {
            assert!(parse_mode(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn signals() {
        for good in ["SIGTERM", "term", "9", "64", "SIGRTMIN+3"] {
            assert_eq!(check_signal(good), Ok(()), "{good}");
        }
        for bad in ["", "0", "65", "SIGNOPE", "SIGRTMIN+99", "-9"] {
            assert!(check_signal(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn durations() {
        assert_eq!(parse_duration("1m30s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("1.5h"), Ok(Duration::from_secs(5400)));
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_duration("0"), Ok(Duration::ZERO));
        for bad in [
            "",
            "5",
            "s",
            "5 s",
            "-5s",
            "5d",
            "1..5s",
            "999us",
            "1e9h",
            "9999999999999999h",
        ] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }
}
