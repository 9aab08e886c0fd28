//! `portolan init`: the manifest to begin with.

/// A small `portolan.yaml` for an app of this name, with its reasons beside it. `name` is a valid name of an App.
pub fn manifest(name: &str) -> String {
    TEMPLATE.replace("APP_NAME", name)
}

/// A valid name of an App that a folder's name leads to: `My App` to `my-app`.
pub fn app_name(folder: &str) -> String {
    let kept = |c: char| {
        if c.is_ascii_alphanumeric() {
            c.to_ascii_lowercase()
        } else {
            '-'
        }
    };
    let name: String = folder
        .chars()
        .map(kept)
        .skip_while(|c| !c.is_ascii_lowercase())
        .take(40)
        .collect();
    let words: Vec<&str> = name.split('-').filter(|word| !word.is_empty()).collect();
    match words.is_empty() {
        true => "app".to_string(),
        false => words.join("-"),
    }
}

const TEMPLATE: &str = "\
# What this app shall be. `portolan up` makes it so on this machine; `portolan explain FIELD` says what a field means.
apiVersion: portolan.dev/v1alpha1
kind: App
metadata: {name: APP_NAME}
spec:
  services:
    web:
      build: {context: .}               # the folder of the Dockerfile; or  image: registry.example/web:1.4
      ports:
        - {name: http, port: 8080, public: true}
      env:
        LOG_LEVEL: info
        # CATALOG: ${services.catalog.url}   the address of another service
      # secrets: {API_KEY: {name: api-key, key: value}}   by reference, never a value
      health:
        ready: {http: {path: /}}        # a replica gets connections, and an update goes on, once this answers
      scale: {min: 1}
      # resources: {cpu: 500m, memory: 256Mi}
      # volumes: [{name: data, path: /data}]   outlives updates and deletes
      # after: [migrate]
  # jobs:
  #   migrate: {build: {context: ./migrate}}   runs once for each revision, before what waits for it
";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::{SourceFile, parse_files};

    #[test]
    fn a_folder_gives_its_name_as_far_as_it_can() {
        for (folder, name) in [
            ("shop", "shop"),
            ("My App", "my-app"),
            ("2024_Reports.v2", "reports-v2"),
            ("--", "app"),
            ("", "app"),
            ("Übersee", "bersee"),
        ] {
            assert_eq!(app_name(folder), name, "{folder}");
        }
    }

    #[test]
    fn the_first_manifest_has_no_fault() {
        let check = |text: String| {
            let file = SourceFile {
                path: "portolan.yaml".into(),
                bytes: text.into_bytes(),
            };
            let (documents, diagnostics) = parse_files(vec![file]);
            assert!(diagnostics.is_empty(), "{}", diagnostics[0]);
            assert_eq!(documents[0].manifest.name(), "shop");
        };
        check(manifest("shop"));
        // What stands behind a `# ` is meant to be taken as it is, but for the words after it.
        let uncommented = manifest("shop")
            .lines()
            .filter(|line| !line.contains("CATALOG"))
            .map(|line| {
                match line
                    .trim_start()
                    .strip_prefix("# ")
                    .filter(|rest| rest.contains(": ") && line.starts_with(' '))
                {
                    Some(rest) => format!(
                        "{}{}\n",
                        " ".repeat(line.len() - line.trim_start().len()),
                        rest.replace("   ", " # ")
                    ),
                    None => format!("{line}\n"),
                }
            })
            .collect::<String>();
        check(uncommented.replace("   #   migrate", "     migrate"));
    }
}
