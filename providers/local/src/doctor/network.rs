//! Whether the networks of apps can be made here. It is read from what the kernel shows of itself.

use std::path::Path;

use super::{Finding, Privilege, Verdict, read, status_field};

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

/// Without it apps run as they do with it, but reach nothing outside. What a table of rules is made of may be missing in
/// the kernel; an app of a user without root has a network that is joined to nothing.
pub fn way_out(privilege: &Privilege) -> Finding {
    let apart = matches!(privilege, Privilege::Namespace { .. });
    match missing_for_a_way_out(&Kernel::of_this_machine(), apart) {
        None => super::finding("way out", Verdict::Fine, "address translation by nf_tables", ""),
        Some((detail, remedy)) => super::finding("way out", Verdict::Limited, detail, remedy),
    }
}

/// What the kernel shows of itself, as text.
struct Kernel {
    /// /proc/kallsyms: names of functions, also where their addresses are hidden.
    symbols: String,
    /// modules.dep of this kernel: what can be loaded.
    modules: String,
    /// /proc/net/route.
    routes: String,
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
            routes: read("/proc/net/route"),
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

    /// Columns of /proc/net/route: link, destination, gateway, flags, three counts, mask, ...
    fn has_default_route(&self) -> bool {
        let leads_out = |line: &str| {
            let columns: Vec<&str> = line.split_whitespace().collect();
            columns.get(1) == Some(&"00000000") && columns.get(7) == Some(&"00000000")
        };
        self.routes.lines().any(leads_out)
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

/// What stands first in the way, with its remedy.
fn missing_for_a_way_out(kernel: &Kernel, apart: bool) -> Option<(&'static str, &'static str)> {
    const ROOT: &str = "run portolan as root where containers need the outside";
    const NF_TABLES: &str = "load the kernel's modules `nf_tables` and `nft_masq` (CONFIG_NF_TABLES, CONFIG_NFT_MASQ)";
    const ROUTE: &str = "give this machine a default route of IPv4";
    let rules = kernel.can("nf_tables_newtable", "/nf_tables.ko") && kernel.can("nft_masq_init", "/nft_masq.ko");
    let needs = [
        (!apart, "containers of a user without root have none", ROOT),
        (
            rules,
            "containers have none: no address translation by nf_tables",
            NF_TABLES,
        ),
        (
            kernel.has_default_route(),
            "containers have none: this machine has no default route",
            ROUTE,
        ),
    ];
    let missing = needs.into_iter().find(|(there, ..)| !there);
    missing.map(|(_, detail, remedy)| (detail, remedy))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_networks_lack_is_named_with_its_own_remedy() {
        let whole = || Kernel {
            symbols: "0000 t br_dev_newlink\n0000 t veth_newlink\t[veth]\n".into(),
            modules: String::new(),
            routes: String::new(),
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

    #[test]
    fn what_a_way_out_lacks_is_named_with_its_own_remedy() {
        const ROUTE: &str = "eth0 00000000 010200C0 0003 0 0 0 00000000 0 0 0";
        const RULES: &str = "0 t nf_tables_newtable\n0 t nft_masq_init";
        for (reason, symbols, routes, apart, remedy) in [
            ("everything is there", RULES, ROUTE, false, None),
            ("a user without root", RULES, ROUTE, true, Some("root")),
            (
                "rules without translation",
                "0 t nf_tables_newtable",
                ROUTE,
                false,
                Some("nft_masq"),
            ),
            (
                "the nearest network alone",
                RULES,
                "eth0 000200C0 0 1 0 0 0 00FFFFFF 0 0 0",
                false,
                Some("default route"),
            ),
        ] {
            let kernel = Kernel {
                symbols: symbols.into(),
                modules: String::new(),
                routes: routes.into(),
                netlink: true,
                capabilities: 0,
            };
            let missing = missing_for_a_way_out(&kernel, apart);
            assert_eq!(missing.is_some(), remedy.is_some(), "{reason}");
            for (expected, (_, told)) in remedy.iter().zip(missing) {
                assert!(told.contains(expected), "{reason}: {told}");
            }
        }
    }
}
