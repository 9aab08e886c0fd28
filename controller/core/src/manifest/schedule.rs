//! Schedules, as cron has them: five fields, of which each says when.

use std::ops::RangeInclusive;

/// Minute, hour, day of the month, month, day of the week: their numbers and the names of those.
const FIELDS: [(RangeInclusive<u32>, &[&str]); 5] = [
    (0..=59, &[]),
    (0..=23, &[]),
    (1..=31, &[]),
    (
        1..=12,
        &[
            "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
        ],
    ),
    (0..=6, &["sun", "mon", "tue", "wed", "thu", "fri", "sat"]),
];

/// Whether every cluster and cloud reads it the same way: five fields with one space between them, each a list of
/// numbers, ranges and steps. Neither `@daily` nor a Sunday that is 7 is known to all of them.
pub(super) fn is_schedule(text: &str) -> bool {
    let fields: Vec<&str> = text.split(' ').collect();
    fields.len() == FIELDS.len()
        && fields
            .iter()
            .zip(FIELDS)
            .all(|(field, (range, names))| is_field(field, &range, names))
}

fn is_field(field: &str, range: &RangeInclusive<u32>, names: &[&str]) -> bool {
    field.split(',').all(|part| is_part(part, range, names))
}

/// `*`, `5`, `1-5`, and each of them with a step: `*/15`.
fn is_part(part: &str, range: &RangeInclusive<u32>, names: &[&str]) -> bool {
    let (span, step) = match part.split_once('/') {
        Some((span, step)) => (span, Some(step)),
        None => (part, None),
    };
    let is_step = |step: &str| number(step).is_some_and(|step| step > 0 && range.contains(&step));
    let of = |word: &str| {
        number(word)
            .or_else(|| named(word, range, names))
            .filter(|number| range.contains(number))
    };
    let is_span = match span.split_once('-') {
        _ if span == "*" => true,
        Some((from, to)) => matches!((of(from), of(to)), (Some(from), Some(to)) if from <= to),
        None => of(span).is_some(),
    };
    is_span && step.is_none_or(is_step)
}

fn number(word: &str) -> Option<u32> {
    let is_plain = (1..=2).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_digit());
    is_plain.then(|| word.parse().ok()).flatten()
}

fn named(word: &str, range: &RangeInclusive<u32>, names: &[&str]) -> Option<u32> {
    let at = names.iter().position(|name| name.eq_ignore_ascii_case(word))?;
    Some(range.start() + u32::try_from(at).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_is_what_every_target_reads_alike() {
        for (text, expected, reason) in [
            ("0 3 * * *", true, "each night"),
            ("*/15 9-17 * * mon-fri", true, "steps, ranges and names"),
            ("0,30 0 1,15 JAN *", true, "lists, and names in capitals"),
            ("0-30/5 * * * *", true, "a step within a range"),
            ("@daily", false, "a word for it"),
            ("0 3 * *", false, "four fields"),
            ("0 3 * * * *", false, "seconds"),
            ("60 3 * * *", false, "an hour has no sixtieth minute"),
            ("0 3 0 * *", false, "a month has no day 0"),
            ("0 3 * * 7", false, "Sunday is 0"),
            ("30-10 * * * *", false, "a range that goes back"),
            ("*/0 * * * *", false, "no step"),
            ("0  3 * * *", false, "two spaces"),
            ("0 3 ? * *", false, "another cron's"),
            ("", false, "nothing"),
        ] {
            assert_eq!(is_schedule(text), expected, "{text}: {reason}");
        }
    }
}
