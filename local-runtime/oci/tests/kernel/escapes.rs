//! Known escapes, each as a bundle that tries it: a canary tree on the host stays unchanged and unread.

use std::fs::{self, Permissions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::bundle::{Bundle, text};
use super::canary::{Canary, SECRET};
use portolan_oci::spec::{BindMount, ContainerParams};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde_json::{Value, json};

/// What an image is, or a configuration asks, and what has to come of it.
struct Attack {
    reason: &'static str,
    image: fn(layer: &Path, canary: &Canary),
    config: fn(&mut Value),
    expected: Expected,
}

enum Expected {
    /// With this in the message.
    Refused(&'static str),
    /// With this in the output: the container stays inside.
    Harmless(&'static str),
}

fn no_change(_: &mut Value) {}

fn add(config: &mut Value, list: &str, entry: Value) {
    config.pointer_mut(list).unwrap().as_array_mut().unwrap().push(entry);
}

#[test]
fn images_and_configurations_do_not_lead_out() {
    use Expected::{Harmless, Refused};
    let attacks = [
        Attack {
            reason: "/dev is a link (CVE-2026-41579)",
            image: |layer, canary| symlink(&canary.folder, layer.join("dev")).unwrap(),
            config: no_change,
            expected: Refused("/dev something other than a plain folder"),
        },
        Attack {
            reason: "/proc is a link (CVE-2019-16884)",
            image: |layer, canary| symlink(&canary.folder, layer.join("proc")).unwrap(),
            config: no_change,
            expected: Refused("/proc something other than a plain folder"),
        },
        Attack {
            reason: "/sys is a link",
            image: |layer, canary| symlink(&canary.folder, layer.join("sys")).unwrap(),
            config: no_change,
            expected: Refused("/sys something other than a plain folder"),
        },
        Attack {
            reason: "/dev/null of the image is a link to a secret (CVE-2025-31133)",
            image: |layer, canary| {
                fs::create_dir(layer.join("dev")).unwrap();
                symlink(canary.path("secret"), layer.join("dev/null")).unwrap();
            },
            config: no_change,
            expected: Harmless("/proc/timer_list: empty\nproc/sys read-only\nnull 1"),
        },
        Attack {
            reason: "without a /dev of its own the image's null device would mask",
            image: |layer, canary| {
                fs::create_dir(layer.join("dev")).unwrap();
                symlink(canary.path("secret"), layer.join("dev/null")).unwrap();
            },
            config: |config| {
                let mounts = config["mounts"].as_array_mut().unwrap();
                mounts.retain(|mount| !mount["destination"].as_str().unwrap().starts_with("/dev"));
            },
            expected: Refused("without a file system of its own at /dev"),
        },
        Attack {
            reason: "a masked path is a link out: there is no such path inside",
            image: |layer, canary| symlink(canary.path("secret"), layer.join("masked")).unwrap(),
            config: |config| add(config, "/linux/maskedPaths", json!("/masked")),
            expected: Harmless("cwd /"),
        },
        Attack {
            reason: "a masked path is a link through /proc",
            image: |layer, _| symlink(Path::new("/proc/self/root").join("etc"), layer.join("masked")).unwrap(),
            config: |config| add(config, "/linux/maskedPaths", json!("/masked")),
            expected: Refused("cannot open in the container /masked"),
        },
        Attack {
            reason: "a read-only path is a link that climbs",
            image: |layer, _| symlink("../../../../../../canary", layer.join("fixed")).unwrap(),
            config: |config| add(config, "/linux/readonlyPaths", json!("/fixed/deep")),
            expected: Harmless("cwd /"),
        },
        Attack {
            reason: "a folder above a mount point is a link (CVE-2021-30465)",
            image: |layer, canary| symlink(&canary.folder, layer.join("data")).unwrap(),
            config: |config| add(config, "/mounts", json!({"destination": "/data/new", "type": "tmpfs"})),
            expected: Refused("/data/new something other than a plain folder"),
        },
        Attack {
            reason: "a mount point is a link",
            image: |layer, canary| symlink(canary.path("deep"), layer.join("data")).unwrap(),
            config: |config| add(config, "/mounts", json!({"destination": "/data", "type": "tmpfs"})),
            expected: Refused("/data something other than a plain folder"),
        },
        Attack {
            reason: "a folder for a mount point would be made through a link that climbs",
            image: |layer, _| symlink("../../canary", layer.join("data")).unwrap(),
            config: |config| add(config, "/mounts", json!({"destination": "/data/a/b", "type": "tmpfs"})),
            expected: Refused("/data/a/b something other than a plain folder"),
        },
        Attack {
            reason: "the program of the container is the runtime itself, which runs none of the image's libraries \
                     (CVE-2019-5736)",
            image: |layer, _| symlink("/proc/self/exe", layer.join("bin/self")).unwrap(),
            config: |config| config["process"]["args"] = json!(["/bin/self", "--help"]),
            expected: Harmless("usage: portolan-runtime"),
        },
        Attack {
            reason: "the runtime itself is the interpreter of the container's program (CVE-2019-5736)",
            image: |layer, _| {
                fs::write(layer.join("bin/self"), "#!/proc/self/exe --help\n").unwrap();
                fs::set_permissions(layer.join("bin/self"), Permissions::from_mode(0o755)).unwrap();
            },
            config: |config| config["process"]["args"] = json!(["/bin/self"]),
            expected: Harmless("usage: portolan-runtime"),
        },
        Attack {
            reason: "a file of the host in place of one of /proc's (CVE-2019-19921, CVE-2025-52881)",
            image: |_, _| {},
            config: |config| {
                let mount = json!({"destination": "/proc/self/attr/exec", "source": "/etc/hosts", "options": ["bind"]});
                add(config, "/mounts", mount)
            },
            expected: Refused("a mount on /proc/self/attr/exec is not supported"),
        },
        Attack {
            reason: "a file system in place of /proc (CVE-2025-52881)",
            image: |_, _| {},
            config: |config| add(config, "/mounts", json!({"destination": "/proc", "type": "tmpfs"})),
            expected: Refused("a mount on /proc is not supported"),
        },
        Attack {
            reason: "a link leads a device to the host (CVE-2026-41579)",
            image: |layer, canary| symlink(&canary.folder, layer.join("data")).unwrap(),
            config: |config| {
                config["linux"]["devices"] = json!([{"path": "/data/node", "type": "c", "major": 1, "minor": 3}])
            },
            expected: Refused("/data something other than a plain folder"),
        },
        Attack {
            reason: "a setting's name climbs to one of the machine",
            image: |_, _| {},
            // One that nobody may write, lest a failure of this test harms the machine.
            config: |config| config["linux"]["sysctl"] = json!({"net/../kernel/ngroups_max": "1"}),
            expected: Refused("`net/../kernel/ngroups_max`, which is not the container's own"),
        },
        Attack {
            reason: "the way to a part of /proc begins elsewhere",
            image: |_, _| {},
            config: |config| {
                add(
                    config,
                    "/mounts",
                    json!({"destination": "/data/../proc/sys", "type": "tmpfs"}),
                )
            },
            expected: Refused("climbs by `..`"),
        },
        Attack {
            reason: "a link leads a mount to a part of /proc (CVE-2023-27561)",
            image: |layer, _| symlink("/proc", layer.join("data")).unwrap(),
            config: |config| add(config, "/mounts", json!({"destination": "/data/sys", "type": "tmpfs"})),
            expected: Refused("/data/sys something other than a plain folder"),
        },
        Attack {
            reason: "a release agent is looked for in every hierarchy (CVE-2022-0492)",
            image: |_, _| {},
            config: |config| config["process"]["args"] = json!(["/bin/see", "agent"]),
            expected: Harmless("unshare: Operation not permitted\nunshare: Operation not permitted\nrelease agents 0"),
        },
        Attack {
            reason: "without a cgroup namespace the hierarchies are still shown from the container's own (CVE-2023-25809)",
            image: |_, _| {},
            config: |config| {
                config["process"]["args"] = json!(["/bin/see", "agent"]);
                let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
                namespaces.retain(|namespace| namespace["type"] != "cgroup");
            },
            expected: Harmless("release agents 0"),
        },
        Attack {
            reason: "a user's number that overflows would leave the process root (CVE-2024-40635)",
            image: |_, _| {},
            config: |config| config["process"]["user"]["uid"] = json!(u32::MAX),
            expected: Refused("the number 4294967295, which is nobody's"),
        },
        Attack {
            reason: "a hook would run with what the image says",
            image: |_, _| {},
            config: |config| config["hooks"] = json!({"poststop": [{"path": "/bin/sh"}]}),
            expected: Refused("`hooks` is not supported"),
        },
    ];
    for attack in attacks {
        let Some(bundle) = Bundle::new("images_and_configurations_do_not_lead_out") else {
            return;
        };
        let canary = Canary::new(&bundle);
        (attack.image)(&bundle.path("layer"), &canary);
        bundle.write_changed(&bundle.params(&[]), attack.config);
        let output = bundle.verb(&["run", "{id}"]);
        let seen = text(&output);
        let (code, part) = match attack.expected {
            Refused(part) => (125, part),
            Harmless(part) => (0, part),
        };
        assert_eq!(output.status.code(), Some(code), "{}: {seen}", attack.reason);
        assert!(seen.contains(part), "{}: no `{part}` in {seen}", attack.reason);
        canary.assert_untouched(&seen, attack.reason);
        bundle.assert_gone();
    }
}

/// CVE-2026-46695: CAP_SYS_ADMIN is enough to make a read-only mount writable, unless the kernel has locked it.
#[test]
fn a_read_only_mount_stays_so_for_an_administrator() {
    let Some(bundle) = Bundle::new("a_read_only_mount_stays_so_for_an_administrator") else {
        return;
    };
    let canary = Canary::new(&bundle);
    let params = ContainerParams {
        mounts: vec![BindMount {
            source: canary.folder.clone(),
            destination: "/volume".into(),
            read_only: true,
        }],
        ..bundle.params(&["remount", "/volume"])
    };
    bundle.write_changed(&params, |config| {
        for set in ["bounding", "effective", "permitted"] {
            add(config, &format!("/process/capabilities/{set}"), json!("CAP_SYS_ADMIN"));
        }
    });
    let seen = bundle.ok(&["run", "{id}"]);
    for (line, reason) in [
        ("remount: Operation not permitted", "as mount(8) would"),
        ("setattr: Operation not permitted", "by the newer call"),
        ("umount: Invalid argument", "what is below does not come to light"),
        ("bind: Success", "it may administrate"),
        (
            "remount of it: Operation not permitted",
            "a second mount is locked as well",
        ),
        ("mount: Success", "and may mount what is its own"),
        ("write: Read-only file system", "the host's file is safe"),
    ] {
        assert!(seen.contains(line), "{reason}: no `{line}` in {seen}");
    }
    canary.assert_untouched(&seen, "remounted");
    bundle.start(&bundle.params(&["wait"]));
    bundle.ok(&["delete", "--force", "{id}"]);
    bundle.write_changed(&bundle.params(&["wait"]), |config| {
        add(config, "/process/capabilities/bounding", json!("CAP_SYS_ADMIN"));
    });
    bundle.create();
    bundle.ok(&["start", "{id}"]);
    let inside = bundle.ok(&["exec", "{id}", "/bin/see", "ns"]);
    let of = fs::read_link(format!("/proc/{}/ns/mnt", bundle.pid())).unwrap();
    assert!(
        inside.contains(of.to_str().unwrap()),
        "exec sees the same mounts: {inside}"
    );
}

/// CVE-2024-21626 began with a descriptor that a runtime had left open; one that its caller left open is as good.
#[test]
fn no_descriptor_of_the_caller_gets_in() {
    let Some(bundle) = Bundle::new("no_descriptor_of_the_caller_gets_in") else {
        return;
    };
    let canary = Canary::new(&bundle);
    let open = fs::File::open(&canary.folder).unwrap();
    let leak = |command: &mut Command, closed: bool| {
        let folder = open.as_raw_fd();
        // SAFETY: dup2(2) and close(2) alone, between fork and exec.
        unsafe {
            command.pre_exec(move || {
                for number in [7, 23, 60] {
                    libc::dup2(folder, number);
                }
                if closed {
                    libc::close(0);
                }
                Ok(())
            })
        };
    };
    bundle.write(&bundle.params(&[]));
    for (closed, line) in [
        (false, "extra descriptors 0"),
        (true, "extra descriptors 0\ninput /dev/null"),
    ] {
        let mut run = bundle.command(&["run", "{id}"]);
        leak(&mut run, closed);
        let seen = text(&run.output().unwrap());
        assert!(seen.contains(line), "no `{line}` in {seen}");
    }
    bundle.start(&bundle.params(&["wait"]));
    let mut exec = bundle.command(&["exec", "{id}", "/bin/see"]);
    leak(&mut exec, true);
    let seen = text(&exec.output().unwrap());
    assert!(seen.contains("extra descriptors 0\ninput /dev/null"), "exec: {seen}");
    canary.assert_untouched(&seen, "descriptors");
}

/// CVE-2024-21626: a descriptor that leaked into the container would lead to the host.
#[test]
fn a_working_directory_behind_a_descriptor_is_refused() {
    let Some(bundle) = Bundle::new("a_working_directory_behind_a_descriptor_is_refused") else {
        return;
    };
    let canary = Canary::new(&bundle);
    let numbers = 3..12;
    for number in numbers.clone() {
        let link = bundle.path(&format!("layer/work-{number}"));
        symlink(format!("/proc/self/fd/{number}"), link).unwrap();
    }
    let folders: Vec<String> = numbers
        .flat_map(|number| [format!("/proc/self/fd/{number}"), format!("/work-{number}")])
        .collect();
    for folder in &folders {
        let params = ContainerParams {
            working_dir: folder.clone(),
            ..bundle.params(&[])
        };
        let output = bundle.run(&params);
        assert_eq!(output.status.code(), Some(125), "{folder}: {}", text(&output));
    }
    bundle.start(&bundle.params(&["wait"]));
    for folder in &folders {
        let output = bundle.verb(&["exec", "--cwd", folder, "{id}", "see"]);
        assert_eq!(output.status.code(), Some(125), "exec in {folder}: {}", text(&output));
    }
    canary.assert_untouched("", "working directories");
}

#[test]
fn files_of_the_host_are_bound_on_plain_files_alone() {
    let Some(bundle) = Bundle::new("files_of_the_host_are_bound_on_plain_files_alone") else {
        return;
    };
    let canary = Canary::new(&bundle);
    fs::write(bundle.path("hosts"), "10.0.0.1 catalog\n").unwrap();
    let etc = bundle.path("layer/etc");
    fs::create_dir(&etc).unwrap();
    let params = ContainerParams {
        mounts: vec![BindMount {
            source: bundle.path("hosts"),
            destination: "/etc/hosts".into(),
            read_only: false,
        }],
        ..bundle.params(&["write", "/etc/hosts"])
    };
    for (target, reason) in [
        (canary.path("deep/hosts"), "a link to a file of the host"),
        (canary.path("new"), "a link to where one could be made"),
        ("../../canary/deep/hosts".into(), "a link that climbs"),
    ] {
        symlink(target, etc.join("hosts")).unwrap();
        let seen = text(&bundle.run(&params));
        assert!(
            seen.contains("/etc/hosts something other than a plain file"),
            "{reason}: {seen}"
        );
        canary.assert_untouched(&seen, reason);
        fs::remove_file(etc.join("hosts")).unwrap();
    }
    // A store may share files by hard links: another name of the same file stays as it is.
    fs::hard_link(canary.path("secret"), etc.join("hosts")).unwrap();
    assert!(bundle.run(&params).status.success());
    assert!(bundle.run(&bundle.params(&["write", "/etc/hosts"])).status.success());
    assert_eq!(
        fs::read_to_string(canary.path("secret")).unwrap(),
        SECRET,
        "the layer's file was written"
    );
}

/// CVE-2025-52565 and its like: /dev/console is a mount, and the image would choose where.
#[test]
fn the_console_of_an_image_is_not_met() {
    let Some(bundle) = Bundle::new("the_console_of_an_image_is_not_met") else {
        return;
    };
    let canary = Canary::new(&bundle);
    fs::create_dir_all(bundle.path("layer/dev/pts")).unwrap();
    symlink(canary.path("secret"), bundle.path("layer/dev/console")).unwrap();
    symlink(canary.path("secret"), bundle.path("layer/dev/pts/ptmx")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(bundle.path("console")).unwrap();
    let create = ["create", "--console-socket", "console", "{id}"];
    bundle.write_changed(&bundle.params(&["wait"]), |config| {
        config["process"]["terminal"] = true.into()
    });
    bundle.ok(&create);
    canary.assert_untouched("", "a terminal");
    bundle.ok(&["delete", "--force", "{id}"]);
    bundle.write_changed(&bundle.params(&["wait"]), |config| {
        config["process"]["terminal"] = true.into();
        config["mounts"]
            .as_array_mut()
            .unwrap()
            .retain(|mount| mount["destination"] != "/dev/pts");
    });
    let said = bundle.refused(&create);
    assert!(said.contains("cannot open a terminal"), "{said}");
    canary.assert_untouched(&said, "a terminal without a devpts");
}

/// CVE-2021-30465: another container swaps the mount point for a link while this one is made.
#[test]
fn a_mount_point_that_changes_meanwhile_does_not_lead_out() {
    let Some(bundle) = Bundle::new("a_mount_point_that_changes_meanwhile_does_not_lead_out") else {
        return;
    };
    let canary = Canary::new(&bundle);
    let (point, link) = (bundle.path("volume/point"), bundle.path("volume/link"));
    fs::create_dir_all(&point).unwrap();
    symlink(&canary.folder, &link).unwrap();
    let params = ContainerParams {
        mounts: vec![BindMount {
            source: bundle.path("volume"),
            destination: "/volume".into(),
            read_only: false,
        }],
        ..bundle.params(&["write", "/volume/point/file"])
    };
    bundle.write_changed(&params, |config| {
        add(
            config,
            "/mounts",
            json!({"destination": "/volume/point", "type": "tmpfs"}),
        );
        add(
            config,
            "/mounts",
            json!({"destination": "/volume/point/deep", "type": "tmpfs"}),
        );
    });
    let enough = AtomicBool::new(false);
    let runs = || {
        let runs = (0..60).map(|_| bundle.verb(&["run", "{id}"])).collect::<Vec<_>>();
        enough.store(true, Ordering::Relaxed);
        runs
    };
    let runs = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !enough.load(Ordering::Relaxed) {
                renameat_with(CWD, &point, CWD, &link, RenameFlags::EXCHANGE).unwrap();
                std::thread::sleep(Duration::from_micros(300));
            }
        });
        runs()
    });
    let refused = runs
        .iter()
        .filter(|output| text(output).contains("other than a plain folder"))
        .count();
    assert!(
        refused > 0,
        "the swap was never met: {:?}",
        runs.iter().map(text).collect::<Vec<_>>()
    );
    canary.assert_untouched("", "swapped");
    bundle.assert_gone();
}

/// CVE-2019-5736: what waits to become the container's program is still the runtime; so might its program be.
#[test]
fn the_runtime_cannot_be_written_through_its_processes() {
    let Some(bundle) = Bundle::new("the_runtime_cannot_be_written_through_its_processes") else {
        return;
    };
    bundle.write(&bundle.params(&["wait"]));
    bundle.create();
    let runtime = format!("/proc/{}/exe", bundle.pid());
    // Trying to write says "text file busy" for as long as it runs; what counts is what comes after.
    let flags = rustix::fs::statvfs(runtime).unwrap().f_flag;
    assert!(flags.contains(rustix::fs::StatVfsMountFlags::RDONLY), "{flags:?}");
}
