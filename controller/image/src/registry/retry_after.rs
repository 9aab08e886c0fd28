//! The `Retry-After` header: seconds, or a date (RFC 9110, section 10.2.3). A date is measured against the answer's own
//! `Date`, so that this machine's clock does not matter.

use std::time::Duration;

use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};

/// How long to wait, if the answer says so.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let now = seconds_of(headers.get(DATE)?.to_str().ok()?)?;
    Some(Duration::from_secs(seconds_of(text)?.saturating_sub(now)))
}

/// `Sun, 06 Nov 1994 08:49:37 GMT` in seconds since the year 0, which is enough for differences.
fn seconds_of(date: &str) -> Option<u64> {
    let parts: Vec<&str> = date.split_once(", ")?.1.split([' ', ':']).collect();
    let [day, month, year, hour, minute, second, "GMT"] = parts[..] else {
        return None;
    };
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let month = MONTHS.iter().position(|name| *name == month)? as u64;
    let number = |text: &str, most: u64| text.parse::<u64>().ok().filter(|number| *number <= most);
    let (day, year) = (number(day, 31)?, number(year, 9999)?);
    // Counted from March, the leap day is the last of its year.
    let (year, month) = if month < 2 {
        (year.checked_sub(1)?, month + 10)
    } else {
        (year, month - 2)
    };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day;
    Some(((days * 24 + number(hour, 23)?) * 60 + number(minute, 59)?) * 60 + number(second, 60)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_dates() {
        for (after, now, expected) in [
            ("120", "", Some(120)),
            (
                "Sun, 06 Nov 1994 08:49:37 GMT",
                "Sun, 06 Nov 1994 08:48:37 GMT",
                Some(60),
            ),
            (
                "Tue, 01 Mar 2028 00:00:10 GMT",
                "Mon, 28 Feb 2028 23:59:50 GMT",
                Some(86_420),
            ),
            (
                "Sat, 01 Jan 2028 00:00:00 GMT",
                "Fri, 31 Dec 2027 23:59:59 GMT",
                Some(1),
            ),
            (
                "Sun, 06 Nov 1994 08:48:37 GMT",
                "Sun, 06 Nov 1994 08:49:37 GMT",
                Some(0),
            ),
            ("soon", "Sun, 06 Nov 1994 08:49:37 GMT", None),
            ("-1", "", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, after.parse().unwrap());
            headers.insert(DATE, now.parse().unwrap());
            assert_eq!(retry_after(&headers), expected.map(Duration::from_secs), "{after}");
        }
    }
}
