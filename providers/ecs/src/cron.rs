//! A schedule in five fields of cron, as EventBridge Scheduler says it: in six, of which the last is the year.
//!
//! Days of the week count from 1, one of the two fields of days is always `?`, and steps are written out.

/// Why a schedule cannot be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsayable {
    /// Cron takes a day that either field names; Amazon takes one of them alone.
    TwoDays,
    /// It is no schedule, which parse lets nobody write.
    Malformed,
}

/// `cron(0 3 * * ? *)` for `0 3 * * *`.
pub fn expression(cron: &str) -> Result<String, Unsayable> {
    let fields: Vec<&str> = cron.split(' ').collect();
    let [minute, hour, day, month, weekday] = fields.as_slice() else {
        return Err(Unsayable::Malformed);
    };
    let (day, weekday) = match (*day, *weekday) {
        (day, "*") => (written(day, &DAY)?, "?".to_string()),
        ("*", weekday) => ("?".to_string(), written(weekday, &WEEKDAY)?),
        _ => return Err(Unsayable::TwoDays),
    };
    let (minute, hour) = (written(minute, &MINUTE)?, written(hour, &HOUR)?);
    let month = written(month, &MONTH)?;
    Ok(format!("cron({minute} {hour} {day} {month} {weekday} *)"))
}

/// Least and greatest number of a field, its names from the least on, and what Amazon counts more.
struct Field {
    least: u32,
    most: u32,
    names: &'static [&'static str],
    shift: u32,
}

const fn numbers(least: u32, most: u32) -> Field {
    Field {
        least,
        most,
        names: &[],
        shift: 0,
    }
}

const MINUTE: Field = numbers(0, 59);
const HOUR: Field = numbers(0, 23);
const DAY: Field = numbers(1, 31);
const MONTH: Field = Field {
    names: &[
        "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
    ],
    ..numbers(1, 12)
};
const WEEKDAY: Field = Field {
    names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
    shift: 1,
    ..numbers(0, 6)
};

fn written(field: &str, of: &Field) -> Result<String, Unsayable> {
    if field == "*" {
        return Ok("*".to_string());
    }
    let parts: Result<Vec<String>, Unsayable> = field.split(',').map(|part| part_of(part, of)).collect();
    Ok(parts?.join(","))
}

fn part_of(part: &str, of: &Field) -> Result<String, Unsayable> {
    let (span, step) = match part.split_once('/') {
        Some((span, step)) => (span, step.parse().map_err(|_| Unsayable::Malformed)?),
        None => (part, 1),
    };
    let (from, to) = match span.split_once('-') {
        _ if span == "*" => (of.least, of.most),
        Some((from, to)) => (number(from, of)?, number(to, of)?),
        None => (number(span, of)?, number(span, of)?),
    };
    let is_range = step == 1 && from != to;
    let shown = |number: u32| (number + of.shift).to_string();
    match is_range {
        true => Ok(format!("{}-{}", shown(from), shown(to))),
        false => {
            let all = (from..=to).step_by(step.max(1) as usize).map(shown);
            Ok(all.collect::<Vec<_>>().join(","))
        }
    }
}

fn number(word: &str, of: &Field) -> Result<u32, Unsayable> {
    let named = of.names.iter().position(|name| name.eq_ignore_ascii_case(word));
    let number = named.map_or_else(|| word.parse().ok(), |at| Some(at as u32 + of.least));
    number.ok_or(Unsayable::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_is_said_in_amazons_words() {
        for (reason, cron, expected) in [
            ("each night", "0 3 * * *", Ok("cron(0 3 * * ? *)")),
            ("a week begins with 1", "0 3 * * 0", Ok("cron(0 3 ? * 1 *)")),
            ("names", "*/15 9-17 * * mon-fri", Ok("cron(0,15,30,45 9-17 ? * 2-6 *)")),
            ("a day of the month", "0 0 1,15 JAN *", Ok("cron(0 0 1,15 1 ? *)")),
            (
                "a step within a range",
                "0-30/10 * * * *",
                Ok("cron(0,10,20,30 * * * ? *)"),
            ),
            ("steps of days", "0 0 */10 * *", Ok("cron(0 0 1,11,21,31 * ? *)")),
            ("either of two days", "0 0 1 * mon", Err(Unsayable::TwoDays)),
            ("no schedule", "0 0 1", Err(Unsayable::Malformed)),
        ] {
            assert_eq!(expression(cron).as_deref(), expected.as_deref(), "{cron}: {reason}");
        }
    }
}
