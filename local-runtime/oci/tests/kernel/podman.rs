//! Containers of Debian's podman, made by this runtime: who speaks to OCI runtimes speaks to this one.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use super::bundle::{Bundle, program, text};

/// What podman needs where cgroups of both versions are mounted and limits cannot be raised.
const CONFIGURATION: &str = r#"
[engine]
runtime = "portolan"
cgroup_manager = "cgroupfs"
events_logger = "none"
lock_type = "file"
[engine.runtimes]
portolan = ["RUNTIME"]
[network]
network_backend = "netavark"
[containers]
log_driver = "k8s-file"
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
"#;

/// podman with folders of its own. Some of its places are fixed: these are covered in a mount namespace, which lives as
/// long as this.
struct Podman<'a> {
    bundle: &'a Bundle,
    holder: std::process::Child,
}

impl Podman<'_> {
    fn new(bundle: &Bundle) -> Podman<'_> {
        let configuration = CONFIGURATION.replace("RUNTIME", env!("CARGO_BIN_EXE_portolan-runtime"));
        fs::write(bundle.path("containers.conf"), configuration).unwrap();
        let cover = "mount -t tmpfs none /run && mount -t tmpfs none /var/lib && echo ready && exec sleep 600";
        let mut holder = Command::new("unshare")
            .args(["--mount", "sh", "-c", cover])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = [0; 6];
        std::io::Read::read_exact(holder.stdout.as_mut().unwrap(), &mut ready).unwrap();
        Podman { bundle, holder }
    }

    fn run(&self, words: &[&str]) -> Output {
        let path = |name: &str| self.bundle.path(name).display().to_string();
        Command::new("nsenter")
            .args([&format!("--target={}", self.holder.id()), "--mount", "podman"])
            .args([
                "--root",
                &path("store"),
                "--runroot",
                &path("run"),
                "--tmpdir",
                &path("tmp"),
            ])
            .args(["--storage-driver", "vfs", "--log-level", "error"])
            .args(words)
            .env("CONTAINERS_CONF", self.bundle.path("containers.conf"))
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    fn says(&self, words: &[&str]) -> String {
        let output = self.run(words);
        assert!(output.status.success(), "{words:?}: {}", text(&output));
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Podman<'_> {
    fn drop(&mut self) {
        self.run(&["rm", "--all", "--force", "--time", "0"]);
        _ = self.holder.kill();
        _ = self.holder.wait();
        // Its own folders for containers, empty now; in use if somebody else's podman is at work.
        for mount in super::bundle::cgroup_mounts() {
            for left in ["libpod_parent/conmon", "libpod_parent"] {
                _ = fs::remove_dir(mount.join(left));
            }
        }
    }
}

#[test]
fn podman_takes_this_runtime() {
    let test = "podman_takes_this_runtime";
    let Some(bundle) = Bundle::new(test) else { return };
    if !Command::new("podman")
        .arg("--version")
        .output()
        .is_ok_and(|said| said.status.success())
    {
        eprintln!("SKIP {test}: podman is not installed");
        return;
    }
    let podman = Podman::new(&bundle);
    import(&podman, program());
    let run = ["run", "--rm", "--network", "none"];
    let see = |options: &[&str], arguments: &[&str]| {
        podman.says(&[&run, options, &["localhost/see", "/bin/see"], arguments].concat())
    };
    let seen = see(&["--hostname", "harbour", "--user", "5:6"], &[]);
    for line in [
        "pid 1 uid 5 gid 6 host harbour cwd /",
        "NoNewPrivs:\t0",
        "Seccomp:\t2",
        "extra descriptors 0",
    ] {
        assert!(seen.contains(line), "no `{line}` in {seen}");
    }
    assert_eq!(
        see(
            &["--sysctl", "net.ipv4.ip_default_ttl=33"],
            &["cat", "/proc/sys/net/ipv4/ip_default_ttl"]
        ),
        "33\n"
    );
    assert!(see(&["--device", "/dev/zero:/dev/nothing"], &["look", "/dev/nothing"]).contains("20666 1:5"));
    assert!(see(&["--tty"], &["terminal"]).contains("terminal /dev/pts/0"));
    let failed = podman.run(&[&run, &["localhost/see", "/bin/see", "exit", "7"][..]].concat());
    assert_eq!(failed.status.code(), Some(7), "{}", text(&failed));
    podman.says(&[
        "run",
        "--detach",
        "--network",
        "none",
        "--name",
        "one",
        "localhost/see",
        "/bin/see",
        "wait",
    ]);
    assert!(
        podman
            .says(&["exec", "--env", "A=1", "one", "/bin/see", "env"])
            .contains("A=1\n")
    );
    assert!(podman.says(&["ps"]).contains("Up "));
    podman.says(&["stop", "one"]);
    assert_eq!(podman.says(&["wait", "one"]).trim(), (40 + libc::SIGTERM).to_string());
    podman.says(&["rm", "one"]);
}

fn import(podman: &Podman<'_>, program: &Path) {
    let archive = podman.bundle.path("see.tar");
    let packed = Command::new("tar")
        .arg("-cf")
        .arg(&archive)
        .arg("--transform=s|.*|bin/see|")
        .arg("-C")
        .args([program.parent().unwrap(), Path::new(program.file_name().unwrap())])
        .status();
    assert!(packed.unwrap().success());
    podman.says(&["import", "--quiet", archive.to_str().unwrap(), "localhost/see"]);
}
