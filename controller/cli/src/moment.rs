//! A moment in the past as it is typed: how long ago, or the date and time of RFC 3339.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use portolan_core::manifest::HumanDuration;

use crate::failure::Failure;

const DAYS_BEFORE_MONTH: [u64; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];

/// A duration that was typed.
pub fn duration(text: &str) -> Result<Duration, Failure> {
    let parsed: Result<HumanDuration, _> = text.parse();
    parsed.map(Duration::from).map_err(|_| {
        Failure::usage("DurationInvalid", format!("`{text}` is not a duration")).hint("write it as 30s, 5m or 1h")
    })
}

/// `5m` is five minutes before `now`.
pub fn since(text: &str, now: SystemTime) -> Result<SystemTime, Failure> {
    let ago = text.parse::<HumanDuration>().ok().map(Duration::from);
    let moment = ago.map(|ago| now - ago);
    moment.or_else(|| rfc3339(text)).ok_or_else(|| {
        let message = format!("`{text}` is neither a duration nor a time");
        Failure::usage("DurationInvalid", message).hint("write it as 30s, 5m or 1h, or as 2026-01-31T08:30:00Z")
    })
}

/// `2026-01-31T08:30:00Z`, `2026-01-31T08:30:00.5+01:00`; from 1970 on.
fn rfc3339(text: &str) -> Option<SystemTime> {
    let (date, rest) = (text.get(..10)?, text.get(10..)?);
    let rest = rest.strip_prefix(['T', 't', ' '])?;
    let (time, rest) = (rest.get(..8)?, rest.get(8..)?);
    let (fraction, zone) = split_fraction(rest)?;
    let seconds = days(date)? * 86_400 + seconds_of_day(time)?;
    let utc = i64::try_from(seconds).ok()? - offset_seconds(zone)?;
    Some(UNIX_EPOCH + Duration::from_secs(u64::try_from(utc).ok()?) + fraction)
}

/// Since 1970-01-01.
fn days(date: &str) -> Option<u64> {
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let is_leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let index = usize::try_from(month).ok()?.checked_sub(1)?;
    let in_month = match month {
        2 => 28 + u64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    if year < 1970 || !(1..=in_month).contains(&day) {
        return None;
    }
    let leap_days = (1970..year).filter(|year| is_leap(*year)).count() as u64 + u64::from(month > 2 && is_leap(year));
    Some((year - 1970) * 365 + leap_days + DAYS_BEFORE_MONTH.get(index)? + day - 1)
}

/// A leap second is the one before it.
fn seconds_of_day(time: &str) -> Option<u64> {
    let [hour, minute, second] = numbers(time, ':', [2, 2, 2])?;
    (hour < 24 && minute < 60 && second <= 60).then(|| hour * 3600 + minute * 60 + second.min(59))
}

/// `.25Z` -> a quarter of a second and `Z`.
fn split_fraction(text: &str) -> Option<(Duration, &str)> {
    let Some(rest) = text.strip_prefix('.') else {
        return Some((Duration::ZERO, text));
    };
    let end = rest.find(|c: char| !c.is_ascii_digit()).filter(|end| *end > 0)?;
    let (digits, zone) = rest.split_at(end);
    let nanos = format!("{:0<9}", &digits[..digits.len().min(9)]);
    Some((Duration::from_nanos(nanos.parse().ok()?), zone))
}

/// East of Greenwich is positive.
fn offset_seconds(zone: &str) -> Option<i64> {
    if zone == "Z" || zone == "z" {
        return Some(0);
    }
    let sign = match zone.get(..1)? {
        "+" => 1,
        "-" => -1,
        _ => return None,
    };
    let [hours, minutes] = numbers(zone.get(1..)?, ':', [2, 2])?;
    let fits = hours < 24 && minutes < 60;
    fits.then_some(sign * i64::try_from(hours * 3600 + minutes * 60).ok()?)
}

/// Numbers of exactly so many digits.
fn numbers<const N: usize>(text: &str, between: char, digits: [usize; N]) -> Option<[u64; N]> {
    let parts: Vec<&str> = text.split(between).collect();
    let mut found = [0; N];
    if parts.len() != N {
        return None;
    }
    for ((part, digits), number) in parts.iter().zip(digits).zip(&mut found) {
        let fits = part.len() == digits && part.bytes().all(|byte| byte.is_ascii_digit());
        *number = fits.then(|| part.parse().ok()).flatten()?;
    }
    Some(found)
}

#[cfg(test)]
// A panic is how a test fails.
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_as_they_are_typed() {
        let now = UNIX_EPOCH + Duration::from_secs(10_000);
        let cases = [
            ("5m", Some(9_700_000), "ago"),
            ("1970-01-01T00:00:00Z", Some(0), "the first second"),
            (
                "2000-02-29T12:00:00Z",
                Some(951_825_600_000),
                "a leap day of a leap century",
            ),
            (
                "2026-11-25T21:30:00Z",
                Some(1_795_642_200_000),
                "a day of a common year",
            ),
            (
                "2024-12-31 23:59:59.25z",
                Some(1_735_689_599_250),
                "a space, small letters, a fraction",
            ),
            ("2026-11-25T22:30:00+01:00", Some(1_795_642_200_000), "east"),
            ("2026-11-25T16:00:00-05:30", Some(1_795_642_200_000), "west"),
            ("2026-11-25T21:30:00", None, "whose time it is must be said"),
            ("2026-11-25", None, "a date alone is no moment"),
            ("2026-02-29T00:00:00Z", None, "no leap year"),
            ("2026-13-01T00:00:00Z", None, "no month"),
            ("2026-00-01T00:00:00Z", None, "nor this"),
            ("2026-11-25T24:00:00Z", None, "no hour"),
            ("2026-11-25T21:30:00.Z", None, "a fraction has digits"),
            ("1969-12-31T23:59:59Z", None, "before everything"),
            ("yesterday", None, "a word"),
            ("2026-11-25T21:30:0é", None, "not a digit"),
        ];
        for (text, expected, reason) in cases {
            let moment = since(text, now).ok();
            let millis = moment.map(|moment| moment.duration_since(UNIX_EPOCH).unwrap().as_millis());
            assert_eq!(millis, expected, "{text}: {reason}");
        }
    }
}
