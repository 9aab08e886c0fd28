//! What is different in a user namespace, where an unprivileged user is root over some ids only.

use std::sync::OnceLock;

use rustix::io::Errno;

/// Whether this process is in one.
pub fn is_inside() -> bool {
    static INSIDE: OnceLock<bool> = OnceLock::new();
    *INSIDE.get_or_init(|| {
        let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
        !map.is_empty() && map.split_whitespace().ne(["0", "0", "4294967295"])
    })
}

/// On a directory, makes it opaque to overlayfs when its value is `y`: an attribute that only the machine's root may set,
/// or the one that overlayfs looks for in its place when a user mounts it.
pub fn opaque_xattr() -> &'static str {
    match is_inside() {
        true => "user.overlay.opaque",
        false => "trusted.overlay.opaque",
    }
}

/// Of a change of owner: what belongs to an id that this user has not stays the user's own, root's inside.
pub fn owned(changed: Result<(), Errno>) -> Result<(), Errno> {
    match changed {
        Err(Errno::INVAL) if is_inside() => Ok(()),
        changed => changed,
    }
}
