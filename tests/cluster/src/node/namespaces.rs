//! Where a node is: mount, network and process namespaces of its own, prepared and held by their first process.
//!
//! When that ends, by the guard or by [`crate::processes`], the kernel ends every process there, containers and shims
//! too; and with the last of them mounts and network are gone.

use std::fs;
use std::process::Command;
use std::time::Duration;

use crate::error::Result;
use crate::node::ADDRESS;
use crate::place::Place;
use crate::processes::Processes;
use crate::wait::until;

/// `$1` the folder of the cluster, `$2` the node's address.
///
/// - Where programs keep things by habit is memory, so none of it stays on the machine.
/// - A kubelet sets kernel settings that are the whole machine's. It gets copies to set.
/// - Kubelet and API server look for a default route; nothing is behind it.
/// - A pod that asks a Service and is answered by a pod beside it has to see the Service's address: the bridge's
///   packets go through netfilter.
/// - A cgroup of the folder's name, in each hierarchy, is the root of the pods' ones. Two hierarchies may be one, under
///   several names.
/// - The first process reaps what is left to it, by ignoring it.
const PREPARE: &str = r#"
set -e
for covered in /run /var/lib /var/log; do
    mount -t tmpfs -o mode=0755 node "$covered"
done
mkdir "$1/sysctl"
for setting in vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops \
    kernel/keys/root_maxkeys kernel/keys/root_maxbytes; do
    copy=$1/sysctl/${setting##*/}
    cat "/proc/sys/$setting" >"$copy"
    mount --bind "$copy" "/proc/sys/$setting"
done
ip link set lo up
ip link add ext0 type bridge
ip address add "$2/24" dev ext0
ip link set ext0 up
ip route add default via "${2%.*}.254"
echo 1 >/proc/sys/net/ipv4/ip_forward
[ ! -e /proc/sys/net/bridge ] || echo 1 >/proc/sys/net/bridge/bridge-nf-call-iptables
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
    mkdir "/sys/fs/cgroup/${1##*/}"
else
    for hierarchy in /sys/fs/cgroup/*; do
        mkdir -p "$hierarchy/${1##*/}"
    done
fi
trap '' CHLD
: >"$1/prepared"
exec sleep infinity
"#;

const LIMIT: Duration = Duration::from_secs(60);

pub(super) fn start(processes: &mut Processes) -> Result<Place> {
    let folder = processes.folder().to_path_buf();
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation=private", "--net", "--pid", "--fork"]);
    command.args(["--kill-child", "--mount-proc", "sh", "-c", PREPARE, "prepare"]);
    command.arg(&folder).arg(ADDRESS.to_string());
    let pid = processes.start("namespaces", command)?;
    until("a node's namespaces are prepared", LIMIT, || {
        processes.all_run()?;
        Ok(fs::metadata(folder.join("prepared")).ok())
    })?;
    Ok(Place::of_children_of(pid, ADDRESS))
}
