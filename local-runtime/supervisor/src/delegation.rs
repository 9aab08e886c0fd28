//! What an unprivileged user's containers lack. Without the right to make cgroups no limit is kept: root may make them, of
//! others it is tried. Without further ids every process is the user's own.

use std::time::Duration;

use portolan_oci::cgroup::{Cgroup, CgroupPath, Layout};
use portolan_oci::userns::{self, Ids};

/// On cgroup v1 nothing is delegated to users.
pub fn limits_are_kept() -> bool {
    let is_root = !userns::is_needed() && Ids::here().is_ok_and(|ids| ids == Ids::All);
    is_root || can_make_a_cgroup()
}

/// Whether a container can have processes of another user than root.
pub fn has_other_users() -> bool {
    userns::foreseen().ids != Ids::Single
}

fn can_make_a_cgroup() -> bool {
    let path = format!("/portolan/trial.{}", std::process::id());
    let made =
        Layout::detect().and_then(|layout| Cgroup::create(&layout, &CgroupPath::parse(&path)?, &Default::default()));
    made.and_then(|cgroup| cgroup.delete_with_parents(Duration::from_secs(1)))
        .is_ok()
}
