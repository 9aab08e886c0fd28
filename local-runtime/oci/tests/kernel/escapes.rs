//! Known escapes, each as a bundle that tries it: a canary tree on the host stays unchanged and unread.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::bundle::{Bundle, text};
use portolan_oci::spec::{BindMount, ContainerParams};

#[test]
fn links_of_an_image_lead_nowhere() {
    for name in ["dev", "proc", "sys"] {
        let Some(bundle) = Bundle::new("links_of_an_image_lead_nowhere") else {
            return;
        };
        let canary = bundle.path("canary");
        fs::create_dir(&canary).unwrap();
        symlink(&canary, bundle.path("layer").join(name)).unwrap();
        let output = bundle.run(&bundle.params(&[]));
        assert_eq!(output.status.code(), Some(125), "{name}: {}", text(&output));
        assert!(
            text(&output).contains("other than a plain folder"),
            "{name}: {}",
            text(&output)
        );
        assert_eq!(entries(&canary), 0, "{name}: nothing was made on the host");
    }
}

#[test]
fn a_working_directory_behind_a_descriptor_is_refused() {
    let Some(bundle) = Bundle::new("a_working_directory_behind_a_descriptor_is_refused") else {
        return;
    };
    for number in 3..12 {
        let params = ContainerParams {
            working_dir: format!("/proc/self/fd/{number}"),
            ..bundle.params(&[])
        };
        let output = bundle.run(&params);
        assert_eq!(
            output.status.code(),
            Some(125),
            "descriptor {number}: {}",
            text(&output)
        );
    }
}

#[test]
fn a_mount_point_behind_a_link_is_refused() {
    let Some(bundle) = Bundle::new("a_mount_point_behind_a_link_is_refused") else {
        return;
    };
    for name in ["canary", "volume"] {
        fs::create_dir(bundle.path(name)).unwrap();
    }
    std::os::unix::fs::symlink(bundle.path("canary"), bundle.path("layer/data")).unwrap();
    let mount = BindMount {
        source: bundle.path("volume"),
        destination: "/data/new".into(),
        read_only: false,
    };
    let output = bundle.run(&ContainerParams {
        mounts: vec![mount],
        ..bundle.params(&[])
    });
    assert_eq!(output.status.code(), Some(125), "{}", text(&output));
    assert_eq!(fs::read_dir(bundle.path("canary")).unwrap().count(), 0);
}

fn entries(folder: &Path) -> usize {
    fs::read_dir(folder).unwrap().count()
}
