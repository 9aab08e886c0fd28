//! Whether the networks of apps can be made here. It is read from what the kernel shows of itself.

use std::path::Path;

use super::{Finding, Verdict, read, status_field};

/// An app's network is a namespace for each replica, joined to a bridge by a pair of virtual links; all of it is made by
/// netlink, with two capabilities that root has unless somebody took them away.
pub fn finding() -> Finding {
    let absent = missing_for_networks(&Kernel::of_this_machine());
    let (verdict, detail, remedy) = match absent.first() {
        None => (Verdict::Fine, "namespaces, bridges and veth by netlink".to_string(), ""),
        Some((_, remedy)) => {
            let subjects: Vec<&str> = absent.iter().map(|(subject, _)| *subject).collect();
            (Verdict::Missing, format!("without {}", subjects.join(", ")), *remedy)
        }
    };
    super::finding("network", verdict, detail, remedy)
}

/// What the kernel shows of itself, as text.
struct Kernel {
    /// /proc/kallsyms: names of functions, also where their addresses are hidden.
    symbols: String,
    /// modules.dep of this kernel: what can be loaded.
    modules: String,
    /// /proc/net/netlink is there.
    netlink: bool,
    /// CapEff of this process.
    capabilities: u64,
}

impl Kernel {
    fn of_this_machine() -> Self {
        let modules = format!("/lib/modules/{}/modules.dep", read("/proc/sys/kernel/osrelease"));
        let capabilities = status_field("CapEff").and_then(|text| u64::from_str_radix(&text, 16).ok());
        Self {
            symbols: read("/proc/kallsyms"),
            modules: read(&modules),
            netlink: Path::new("/proc/net/netlink").exists(),
            capabilities: capabilities.unwrap_or(0),
        }
    }

    /// Built in or loaded already, or there to be loaded when the first link of its kind is made. A kernel that shows no
    /// symbols is believed.
    fn can(&self, function: &str, module: &str) -> bool {
        let known = |line: &str| line.split_whitespace().nth(2) == Some(function);
        let loadable = |line: &str| line.split(':').next().is_some_and(|path| path.contains(module));
        self.symbols.is_empty() || self.symbols.lines().any(known) || self.modules.lines().any(loadable)
    }

    fn may(&self, capability: u32) -> bool {
        self.capabilities & (1 << capability) != 0
    }
}

/// Numbers of capabilities(7).
const CAP_NET_ADMIN: u32 = 12;
const CAP_SYS_ADMIN: u32 = 21;

/// Each with its remedy, what has to be mended first in front.
fn missing_for_networks(kernel: &Kernel) -> Vec<(&'static str, &'static str)> {
    const CAPABLE: &str =
        "run portolan with the capability that is missing: in a container, with `--cap-add` or `--privileged`";
    const BRIDGE: &str = "load the kernel's module `bridge` (CONFIG_BRIDGE)";
    const VETH: &str = "load the kernel's module `veth` (CONFIG_VETH)";
    const NETLINK: &str = "a kernel with netlink sockets is needed (CONFIG_NET)";
    let needs = [
        (kernel.may(CAP_SYS_ADMIN), "CAP_SYS_ADMIN", CAPABLE),
        (kernel.may(CAP_NET_ADMIN), "CAP_NET_ADMIN", CAPABLE),
        (kernel.netlink, "netlink", NETLINK),
        (kernel.can("br_dev_newlink", "/bridge.ko"), "bridge", BRIDGE),
        (kernel.can("veth_newlink", "/veth.ko"), "veth", VETH),
    ];
    let absent = needs.into_iter().filter(|(there, ..)| !there);
    absent.map(|(_, subject, remedy)| (subject, remedy)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_networks_lack_is_named_with_its_own_remedy() {
        let whole = || Kernel {
            symbols: "0000 t br_dev_newlink\n0000 t veth_newlink\t[veth]\n".into(),
            modules: String::new(),
            netlink: true,
            capabilities: 1 << CAP_NET_ADMIN | 1 << CAP_SYS_ADMIN,
        };
        let with = |change: fn(&mut Kernel)| {
            let mut kernel = whole();
            change(&mut kernel);
            missing_for_networks(&kernel)
        };
        for (reason, absent, subject, remedy) in [
            (
                "nothing of veth",
                with(|k| k.symbols = "0 t br_dev_newlink".into()),
                "veth",
                "CONFIG_VETH",
            ),
            (
                "a name that only begins so",
                with(|k| k.symbols = "0 t br_dev_newlink2\n0 t veth_newlink".into()),
                "bridge",
                "CONFIG_BRIDGE",
            ),
            (
                "a container without the capability",
                with(|k| k.capabilities = 1 << CAP_SYS_ADMIN),
                "CAP_NET_ADMIN",
                "--cap-add",
            ),
            ("no netlink", with(|k| k.netlink = false), "netlink", "CONFIG_NET"),
        ] {
            assert_eq!(
                absent.iter().map(|(subject, _)| *subject).collect::<Vec<_>>(),
                [subject],
                "{reason}"
            );
            assert!(absent[0].1.contains(remedy), "{reason}: {}", absent[0].1);
        }
        for (reason, absent) in [
            ("everything is built in or loaded", with(|_| ())),
            (
                "veth can be loaded",
                with(|k| {
                    k.symbols = "0 t br_dev_newlink".into();
                    k.modules = "kernel/drivers/net/veth.ko.zst:\n".into();
                }),
            ),
            ("a kernel that shows no symbols", with(|k| k.symbols = String::new())),
        ] {
            assert_eq!(absent, [], "{reason}");
        }
    }
}
