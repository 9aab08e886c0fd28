//! Values of secret variables, read at the moment a process needs them and kept nowhere.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::spec::{ContainerSpec, SecretRef};

/// A file that holds secrets is no longer than this.
const MAX_BYTES: u64 = 1 << 20;

#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("cannot read the file {} for the variable {variable}", path.display())]
    Read {
        variable: String,
        path: PathBuf,
        source: io::Error,
    },
    #[error("{reference} is not there, which the variable {variable} needs")]
    Missing { variable: String, reference: SecretRef },
    #[error("the value for the variable {variable} in {} is no text", path.display())]
    NoText { variable: String, path: PathBuf },
}

/// Whether every secret variable of a container has a value now: the faults, one a variable. No value leaves here.
pub fn missing<'a>(references: impl IntoIterator<Item = (&'a String, &'a SecretRef)>) -> Vec<SecretError> {
    references
        .into_iter()
        .filter_map(|(variable, reference)| value(variable, reference).err())
        .collect()
}

/// All variables of a container, plain and secret.
pub fn environment(spec: &ContainerSpec) -> Result<BTreeMap<String, String>, SecretError> {
    let mut all = spec.env.clone();
    for (variable, reference) in &spec.secret_env {
        all.insert(variable.clone(), value(variable, reference)?);
    }
    Ok(all)
}

/// Looks the value up in every file; the last file that holds it counts.
fn value(variable: &str, reference: &SecretRef) -> Result<String, SecretError> {
    let mut found = None;
    for path in &reference.files {
        found = value_in(variable, path, &reference.key)?.or(found);
    }
    found.ok_or_else(|| SecretError::Missing {
        variable: variable.to_string(),
        reference: reference.clone(),
    })
}

fn value_in(variable: &str, path: &Path, key: &str) -> Result<Option<String>, SecretError> {
    let no_text = || SecretError::NoText {
        variable: variable.to_string(),
        path: path.into(),
    };
    let content = match read(path) {
        Ok(content) => content,
        Err(error) if error.kind() == io::ErrorKind::InvalidData => return Err(no_text()),
        Err(source) => {
            return Err(SecretError::Read {
                variable: variable.to_string(),
                path: path.into(),
                source,
            });
        }
    };
    let found = match key {
        "" => Some(content.strip_suffix('\n').unwrap_or(&content).to_string()),
        key => entry(&content, key),
    };
    match found {
        Some(value) if value.contains('\0') => Err(no_text()),
        found => Ok(found),
    }
}

fn read(path: &Path) -> io::Result<String> {
    let mut content = String::new();
    fs::File::open(path)?.take(MAX_BYTES).read_to_string(&mut content)?;
    Ok(content)
}

/// The last entry of that name. `KEY=value`, `export KEY=value`, `KEY="value"` with \n \" \\ and `KEY='value'` as it is.
fn entry(content: &str, key: &str) -> Option<String> {
    let lines = content.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    let values = lines.filter_map(|line| {
        let (name, value) = line.strip_prefix("export ").unwrap_or(line).split_once('=')?;
        (name.trim() == key).then(|| unquote(value.trim()))
    });
    values.reduce(|_, later| later)
}

fn unquote(value: &str) -> String {
    let inner = |quote: char| value.strip_prefix(quote)?.strip_suffix(quote);
    if let Some(literal) = inner('\'') {
        return literal.to_string();
    }
    let Some(quoted) = inner('"') else {
        return value.to_string();
    };
    let (mut out, mut chars) = (String::new(), quoted.chars());
    while let Some(c) = chars.next() {
        match (c, c == '\\') {
            (_, true) => match chars.next() {
                Some('n') => out.push('\n'),
                Some(other) => out.push(other),
                None => out.push('\\'),
            },
            (c, _) => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn env_files_are_read_as_their_users_write_them() {
        let content = "# A=0\nA=1\nexport B = x y \nC=\"two\\nlines \\\"q\\\"\"\nD='as $it is'\nA=2\nE=\nF=a=b\n";
        for (reason, key, expected) in [
            ("the last one counts", "A", Some("2")),
            ("export and blanks", "B", Some("x y")),
            ("escapes in double quotes", "C", Some("two\nlines \"q\"")),
            ("single quotes are literal", "D", Some("as $it is")),
            ("empty is a value", "E", Some("")),
            ("the value may hold =", "F", Some("a=b")),
            ("missing", "G", None),
        ] {
            assert_eq!(entry(content, key).as_deref(), expected, "{reason}");
        }
    }

    #[test]
    fn a_later_file_wins_where_it_has_the_entry() {
        let files = ["A=1\nB=1\n", "A=2\n"].map(|content| {
            let file = tempfile::NamedTempFile::new().unwrap();
            fs::write(file.path(), content).unwrap();
            file
        });
        let of = |key: &str| SecretRef {
            files: files.iter().map(|file| file.path().into()).collect(),
            key: key.into(),
        };
        assert_eq!(value("X", &of("A")).unwrap(), "2", "the later one");
        assert_eq!(value("X", &of("B")).unwrap(), "1", "the only one");
    }

    #[test]
    fn a_missing_entry_names_the_variable_and_never_a_value() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "OTHER=hunter2\n").unwrap();
        let reference = SecretRef {
            files: vec![file.path().into()],
            key: "API_KEY".into(),
        };
        let error = value("TOKEN", &reference).unwrap_err().to_string();
        assert!(
            error.contains("API_KEY") && error.contains("TOKEN") && !error.contains("hunter2"),
            "{error}"
        );
    }
}
