//! Grammars of what Amazon calls its things.

use super::Grammar;

/// Twelve digits.
pub static AWS_ACCOUNT: Grammar = Grammar {
    what: "a number of an account",
    rule: "twelve digits, between quotes",
    example: "123456789012",
    code: "InvalidName",
    pattern: "^[0-9]{12}$",
    accepts: |text| text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit()),
    reason: |_| None,
};

/// Words between `-`, and a digit at the end.
pub static AWS_REGION: Grammar = Grammar {
    what: "a region",
    rule: "lower-case words between `-`, and a digit at the end",
    example: "eu-west-1",
    code: "InvalidName",
    pattern: "^[a-z]{2}(-[a-z]+)+-[0-9]$",
    accepts: |text| {
        let parts: Vec<&str> = text.split('-').collect();
        let is_word = |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase());
        match parts.as_slice() {
            [first, words @ .., digit] => {
                let ends = digit.len() == 1 && digit.bytes().all(|byte| byte.is_ascii_digit());
                first.len() == 2 && is_word(first) && !words.is_empty() && words.iter().all(is_word) && ends
            }
            _ => false,
        }
    },
    reason: |_| None,
};

/// A cluster's, a capacity provider's, an alarm's.
pub static AWS_NAME: Grammar = Grammar {
    what: "a name at Amazon",
    rule: "letters, digits, `-` and `_`, at most 255",
    example: "prod",
    code: "InvalidName",
    pattern: "^[-A-Za-z0-9_]{1,255}$",
    accepts: |text| {
        let inside = text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        (1..=255).contains(&text.len()) && inside
    },
    reason: |_| None,
};

/// A kind and a number: `subnet-0ff1ce0ff1ce0ff1c`.
pub static AWS_ID: Grammar = Grammar {
    what: "an identifier at Amazon",
    rule: "a kind, `-`, and 8 to 40 lower-case letters and digits",
    example: "subnet-0ff1ce0ff1ce0ff1c",
    code: "InvalidName",
    pattern: "^[a-z]{2,10}-[0-9a-z]{8,40}$",
    accepts: |text| {
        text.split_once('-').is_some_and(|(kind, number)| {
            let is_kind = (2..=10).contains(&kind.len()) && kind.bytes().all(|byte| byte.is_ascii_lowercase());
            let digits = number
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
            is_kind && (8..=40).contains(&number.len()) && digits
        })
    },
    reason: |_| None,
};

/// An Amazon Resource Name.
pub static ARN: Grammar = Grammar {
    what: "an ARN",
    rule: "`arn:`, and a partition, a service, a region, an account and a resource between colons",
    example: "arn:aws:iam::123456789012:role/shop",
    code: "InvalidName",
    pattern: "^arn:[-a-z]+:[-a-z0-9]+:[-a-z0-9]*:[0-9]*:[!-~]+$",
    accepts: |text| {
        let parts: Vec<&str> = text.splitn(6, ':').collect();
        let [arn, partition, service, region, account, resource] = parts.as_slice() else {
            return false;
        };
        let lower = |c: u8| c.is_ascii_lowercase() || c == b'-';
        let word = |part: &str| part.bytes().all(|c| lower(c) || c.is_ascii_digit());
        *arn == "arn"
            && !partition.is_empty()
            && partition.bytes().all(lower)
            && !service.is_empty()
            && word(service)
            && word(region)
            && account.bytes().all(|c| c.is_ascii_digit())
            && !resource.is_empty()
            && resource.bytes().all(|c| c.is_ascii_graphic())
    },
    reason: |_| None,
};
