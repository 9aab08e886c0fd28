//! Kubernetes' quantities, read: one amount is spelt in many ways, and an API server answers with its own. They are written
//! by core's types.

/// In thousandths; `None` for what is no quantity, or is finer or larger than any that we write.
pub fn millis_of(text: &str) -> Option<i128> {
    let at = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (digits, suffix) = text.split_at(at);
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let scale = 10i128.checked_pow(u32::try_from(part.len()).ok()?)?;
    let amount: i128 = format!("{whole}{part}").parse().ok()?;
    let thousandths = amount.checked_mul(millis_of_suffix(suffix)?)?;
    (thousandths % scale == 0).then_some(thousandths / scale)
}

fn millis_of_suffix(suffix: &str) -> Option<i128> {
    const DECIMAL: [(&str, u32); 7] = [("", 0), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18)];
    const BINARY: [(&str, u32); 6] = [("Ki", 10), ("Mi", 20), ("Gi", 30), ("Ti", 40), ("Pi", 50), ("Ei", 60)];
    if suffix == "m" {
        return Some(1);
    }
    let decimal = DECIMAL.iter().find(|(name, _)| *name == suffix);
    let binary = BINARY.iter().find(|(name, _)| *name == suffix);
    match (decimal, binary) {
        (Some((_, power)), _) => Some(1000 * 10i128.pow(*power)),
        (_, Some((_, shift))) => Some(1000 << shift),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_amount_has_many_spellings() {
        for (reason, one, other) in [
            ("thousandths of a whole", "1000m", "1"),
            ("a fraction", "0.5", "500m"),
            ("binary units", "1024Mi", "1Gi"),
            ("bytes", "1073741824", "1Gi"),
            ("decimal units", "1k", "1000"),
            ("a fraction of a unit", "1.5Gi", "1536Mi"),
        ] {
            assert!(millis_of(one).is_some(), "{reason}");
            assert_eq!(millis_of(one), millis_of(other), "{reason}");
        }
        for (reason, text) in [("no number", "much"), ("another unit", "1Q"), ("nothing", "")] {
            assert_eq!(millis_of(text), None, "{reason}");
        }
    }
}
