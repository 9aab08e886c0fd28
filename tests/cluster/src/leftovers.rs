//! What a cluster, or a home beside it, might leave on the machine: it says its folder's name in all of it but in network
//! namespaces.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Processes, cgroups, mounts and files of a cluster, one line each.
pub fn of(folder: &Path) -> Vec<String> {
    let name = folder
        .file_name()
        .expect("a folder has a name")
        .to_str()
        .expect("it is ASCII");
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").expect("procfs is mounted").flatten() {
        let texts = ["cmdline", "cgroup"].map(|file| fs::read(entry.path().join(file)).unwrap_or_default());
        let texts = texts.map(|text| String::from_utf8_lossy(&text).replace('\0', " "));
        found.extend(texts.into_iter().filter(|text| text.contains(name)));
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("procfs is mounted");
    found.extend(mounts.lines().filter(|line| line.contains(name)).map(String::from));
    let hierarchies = fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten();
    let roots = hierarchies
        .map(|entry| entry.path())
        .chain([PathBuf::from("/sys/fs/cgroup")]);
    let places = roots.map(|root| root.join(name)).chain([folder.to_path_buf()]);
    found.extend(
        places
            .filter(|place| place.exists())
            .map(|place| place.display().to_string()),
    );
    found
}

/// Network namespaces in which a process of this machine is.
pub fn networks() -> BTreeSet<PathBuf> {
    let entries = fs::read_dir("/proc").expect("procfs is mounted").flatten();
    entries
        .filter_map(|entry| fs::read_link(entry.path().join("ns/net")).ok())
        .collect()
}

/// Settings of the whole machine that a kubelet or a network plugin would change.
pub fn settings() -> Vec<String> {
    let names = [
        "kernel/panic",
        "kernel/panic_on_oops",
        "kernel/keys/root_maxkeys",
        "kernel/keys/root_maxbytes",
        "vm/overcommit_memory",
        "vm/panic_on_oom",
        "net/ipv4/ip_forward",
    ];
    let read = |name: &str| fs::read_to_string(Path::new("/proc/sys").join(name)).expect("the kernel has it");
    names.map(read).to_vec()
}
