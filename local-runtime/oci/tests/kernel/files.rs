//! What a container sees of files, and where its writes go.

use std::fs;

use super::bundle::{Bundle, text};
use portolan_oci::spec::{BindMount, ContainerParams};

#[test]
fn writes_go_to_the_upper_folder_or_nowhere() {
    let Some(bundle) = Bundle::new("writes_go_to_the_upper_folder_or_nowhere") else {
        return;
    };
    assert!(bundle.run(&bundle.params(&["write", "/made"])).status.success());
    assert!(bundle.path("upper/made").is_file() && !bundle.path("layer/made").exists());
    let read_only = ContainerParams {
        writable: None,
        lower: vec![bundle.path("layer"), bundle.path("upper")],
        ..bundle.params(&["write", "/other"])
    };
    let output = bundle.run(&read_only);
    assert!(text(&output).contains("Read-only file system"), "{}", text(&output));
}

#[test]
fn files_and_folders_of_the_host_are_bound() {
    let Some(bundle) = Bundle::new("files_and_folders_of_the_host_are_bound") else {
        return;
    };
    fs::create_dir(bundle.path("volume")).unwrap();
    fs::write(bundle.path("hosts"), "10.0.0.1 catalog\n").unwrap();
    let bind = |source: &str, destination: &str, read_only| BindMount {
        source: bundle.path(source),
        destination: destination.into(),
        read_only,
    };
    let mounts = vec![bind("hosts", "/etc/hosts", true), bind("volume", "/data/deep", false)];
    let with = |arguments: &[&str]| ContainerParams {
        mounts: mounts.clone(),
        ..bundle.params(arguments)
    };
    assert_eq!(text(&bundle.run(&with(&["cat", "/etc/hosts"]))), "10.0.0.1 catalog\n");
    assert!(text(&bundle.run(&with(&["write", "/etc/hosts"]))).contains("Read-only"));
    assert!(bundle.run(&with(&["write", "/data/deep/kept"])).status.success());
    assert!(bundle.path("volume/kept").is_file());
}
