//! Real containers on this kernel: what the process inside sees, what comes back, and what the host keeps.

// A panic is how a test fails.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use portolan_oci::spec::{ContainerParams, User, Writable, container_spec};

/// Prints what it sees; `exit N` ends with N, `write PATH` writes there.
const PROGRAM: &str = r#"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
static void show(const char *path) {
    char text[4096]; int fd = open(path, O_RDONLY);
    long n = fd < 0 ? -1 : read(fd, text, sizeof text);
    printf("%s: %s\n", path, fd < 0 ? "absent" : n == 0 ? "empty" : "readable");
    if (fd >= 0) close(fd);
}
int main(int argc, char **argv) {
    if (argc > 2 && !strcmp(argv[1], "exit")) return atoi(argv[2]);
    if (argc > 2 && !strcmp(argv[1], "write")) { int fd = open(argv[2], O_CREAT|O_WRONLY, 0644); if (fd < 0) { perror(argv[2]); return 1; } return write(fd, "x", 1) != 1; }
    char line[256]; FILE *status = fopen("/proc/self/status", "r");
    while (status && fgets(line, sizeof line, status))
        if (!strncmp(line, "Cap", 3) || !strncmp(line, "Seccomp:", 8) || !strncmp(line, "NoNewPrivs", 10)) fputs(line, stdout);
    char name[65] = "", cwd[256] = ""; gethostname(name, 64); getcwd(cwd, 255);
    printf("pid %d uid %d gid %d host %s cwd %s\n", getpid(), getuid(), getgid(), name, cwd);
    int open_fds = 0; for (int fd = 3; fd < 64; fd++) if (fcntl(fd, F_GETFD) >= 0 && fd != fileno(status)) open_fds++;
    printf("extra descriptors %d\n", open_fds);
    show("/proc/kcore"); show("/proc/timer_list");
    int sys = open("/proc/sys/kernel/domainname", O_WRONLY); printf("proc/sys %s\n", sys < 0 ? "read-only" : "writable");
    struct stat null; printf("null %d\n", stat("/dev/null", &null) == 0 && S_ISCHR(null.st_mode));
    return 0;
}
"#;

struct Bundle {
    folder: tempfile::TempDir,
}

impl Bundle {
    /// A root file system that holds the program alone; `None`, said aloud, where containers cannot be run.
    fn new(test: &str) -> Option<Bundle> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("SKIP {test}: not root");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        for name in ["layer/bin", "upper", "work", "rootfs"] {
            fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        let source = folder.path().join("program.c");
        fs::write(&source, PROGRAM).unwrap();
        let built = Command::new("gcc")
            .args(["-static", "-O1", "-o"])
            .arg(folder.path().join("layer/bin/see"))
            .arg(&source)
            .status();
        assert!(built.unwrap().success());
        Some(Bundle { folder })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn params(&self, arguments: &[&str]) -> ContainerParams {
        ContainerParams {
            lower: vec![self.path("layer")],
            writable: Some(Writable {
                upper: self.path("upper"),
                work: self.path("work"),
            }),
            args: ["/bin/see"]
                .iter()
                .chain(arguments)
                .map(|word| word.to_string())
                .collect(),
            env: vec!["PATH=/bin".into()],
            hostname: Some("harbour".into()),
            ..ContainerParams::default()
        }
    }

    fn run(&self, params: &ContainerParams) -> Output {
        let spec = serde_json::to_vec(&container_spec(params)).unwrap();
        fs::write(self.path("config.json"), spec).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_portolan-runtime"));
        command
            .arg("run")
            .arg("--bundle")
            .arg(self.folder.path())
            .output()
            .unwrap()
    }
}

fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

#[test]
fn the_process_sees_a_closed_world() {
    let Some(bundle) = Bundle::new("the_process_sees_a_closed_world") else {
        return;
    };
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let output = bundle.run(&bundle.params(&[]));
    let seen = text(&output);
    assert!(output.status.success(), "{seen}");
    for (line, reason) in [
        ("pid 1 uid 0 gid 0 host harbour cwd /", "namespaces of its own"),
        ("CapInh:\t0000000000000000", "nothing to inherit"),
        ("CapEff:\t00000000a80425fb", "the documented default capabilities"),
        ("CapBnd:\t00000000a80425fb", "and none beyond them"),
        ("CapAmb:\t0000000000000000", "nothing ambient"),
        ("NoNewPrivs:\t1", "no way to more"),
        ("Seccomp:\t2", "a filter is on"),
        ("extra descriptors 0", "only the three standard streams"),
        ("/proc/timer_list: empty", "masked by the null device"),
        ("proc/sys read-only", "settings of the kernel cannot be written"),
        ("null 1", "devices are there"),
    ] {
        assert!(seen.contains(line), "{reason}: no `{line}` in\n{seen}");
    }
    assert_eq!(
        fs::read_to_string("/proc/self/mountinfo").unwrap(),
        mounts,
        "no mount shows on the host"
    );
}

#[test]
fn exit_codes_come_back() {
    let Some(bundle) = Bundle::new("exit_codes_come_back") else {
        return;
    };
    assert_eq!(bundle.run(&bundle.params(&["exit", "7"])).status.code(), Some(7));
    let params = ContainerParams {
        args: vec!["/bin/nothing".into()],
        ..bundle.params(&[])
    };
    let output = bundle.run(&params);
    assert_eq!(output.status.code(), Some(125));
    assert!(
        text(&output).contains("`/bin/nothing` is no executable file in the container"),
        "{}",
        text(&output)
    );
}

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
fn another_user_holds_no_capability() {
    let Some(bundle) = Bundle::new("another_user_holds_no_capability") else {
        return;
    };
    let user = User {
        uid: 1000,
        gid: 1001,
        additional_gids: vec![],
    };
    let seen = text(&bundle.run(&ContainerParams {
        user,
        ..bundle.params(&[])
    }));
    assert!(
        seen.contains("uid 1000 gid 1001") && seen.contains("CapEff:\t0000000000000000"),
        "{seen}"
    );
}

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
fn what_is_not_supported_is_refused() {
    let Some(bundle) = Bundle::new("what_is_not_supported_is_refused") else {
        return;
    };
    let mut params = bundle.params(&[]);
    params.limits.memory_bytes = Some(1 << 20);
    let output = bundle.run(&params);
    assert_eq!(output.status.code(), Some(125));
    assert!(
        text(&output).contains("a limit on memory, cpu or pids is not supported"),
        "{}",
        text(&output)
    );
}

fn entries(folder: &Path) -> usize {
    fs::read_dir(folder).unwrap().count()
}
