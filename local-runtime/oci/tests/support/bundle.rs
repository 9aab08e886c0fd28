//! Bundles for tests: a root file system with one static program, and the runtime on it.

// Each test uses its part of this.
#![allow(dead_code)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use portolan_oci::spec::{ContainerParams, Writable, container_spec};
use serde_json::Value;

/// What containers run: `see` without arguments prints what it sees; see `main` for the rest.
const PROGRAM: &str = r#"
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
extern char **environ;
static void show(const char *path) {
    char text[4096]; int fd = open(path, O_RDONLY);
    long n = fd < 0 ? -1 : read(fd, text, sizeof text);
    printf("%s: %s\n", path, fd < 0 ? "absent" : n == 0 ? "empty" : "readable");
    if (fd >= 0) close(fd);
}
static int cat(const char *path) {
    char text[65536]; int fd = open(path, O_RDONLY); long n;
    if (fd < 0) { perror(path); return 1; }
    while ((n = read(fd, text, sizeof text)) > 0) fwrite(text, 1, n, stdout);
    return 0;
}
static void namespace(const char *kind) {
    char path[64], target[64] = ""; snprintf(path, 64, "/proc/self/ns/%s", kind);
    if (readlink(path, target, 63) > 0) printf("%s\n", target);
}
static void bye(int signal) { _exit(40 + signal); }
int main(int argc, char **argv) {
    setvbuf(stdout, 0, _IONBF, 0);
    const char *verb = argc > 1 ? argv[1] : "", *value = argc > 2 ? argv[2] : "";
    if (!strcmp(verb, "exit")) return atoi(value);
    if (!strcmp(verb, "die")) { kill(getpid(), atoi(value)); pause(); }
    if (!strcmp(verb, "write")) { int fd = open(value, O_CREAT|O_WRONLY, 0644); if (fd < 0) { perror(value); return 1; } if (write(fd, "x", 1) != 1) { perror(value); return 1; } return 0; }
    if (!strcmp(verb, "cat")) return cat(value);
    if (!strcmp(verb, "wait")) { signal(SIGTERM, bye); signal(SIGUSR1, bye); printf("waiting\n"); for (;;) pause(); }
    if (!strcmp(verb, "env")) { for (char **e = environ; *e; e++) puts(*e); return 0; }
    if (!strcmp(verb, "ns")) { namespace("net"); namespace("pid"); namespace("ipc"); namespace("uts"); namespace("mnt"); namespace("cgroup"); return 0; }
    if (!strcmp(verb, "eat")) { size_t n = (size_t)atoi(value) << 20; volatile char *p = malloc(n); for (size_t i = 0; i < n; i += 4096) p[i] = 1; printf("ate\n"); return 0; }
    if (!strcmp(verb, "fork")) { int made = 0; for (int i = 0; i < atoi(value); i++) { int p = fork(); if (!p) { pause(); _exit(0); } if (p < 0) { printf("fork %d: %s\n", made, strerror(errno)); return 0; } made++; } printf("forked %d\n", made); return 0; }
    if (!strcmp(verb, "tty")) { printf("tty %d %s\n", isatty(0), ttyname(0)); struct stat c; printf("console %d\n", stat("/dev/console", &c) == 0 && S_ISCHR(c.st_mode)); return 0; }
    char line[256]; FILE *status = fopen("/proc/self/status", "r");
    while (status && fgets(line, sizeof line, status))
        if (!strncmp(line, "Cap", 3) || !strncmp(line, "Seccomp:", 8) || !strncmp(line, "NoNewPrivs", 10) || !strncmp(line, "SigIgn", 6) || !strncmp(line, "SigBlk", 6) || !strncmp(line, "Groups", 6)) fputs(line, stdout);
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

/// Compiled once a test program, into cargo's own folder for what tests make.
fn program() -> &'static Path {
    static PROGRAM_FILE: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM_FILE.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let name = format!("see-{}", std::process::id());
        let (source, program) = (folder.join(format!("{name}.c")), folder.join(&name));
        fs::write(&source, PROGRAM).unwrap();
        let built = Command::new("gcc")
            .args(["-static", "-O1", "-o"])
            .arg(&program)
            .arg(&source)
            .status();
        assert!(built.unwrap().success());
        fs::remove_file(source).unwrap();
        // One file for all test programs, replaced as a whole.
        let kept = folder.join("see");
        fs::rename(program, &kept).unwrap();
        kept
    })
}

pub struct Bundle {
    folder: tempfile::TempDir,
    pub id: String,
}

impl Bundle {
    /// A root file system that holds the program alone; `None`, said aloud, where containers cannot be run.
    pub fn new(test: &str) -> Option<Bundle> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("SKIP {test}: not root");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        for name in ["layer/bin", "upper", "work", "rootfs"] {
            fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        fs::copy(program(), folder.path().join("layer/bin/see")).unwrap();
        let id = format!("{test}-{}", std::process::id());
        Some(Bundle { folder, id })
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn params(&self, arguments: &[&str]) -> ContainerParams {
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
            cgroups_path: Some(self.cgroup()),
            ..ContainerParams::default()
        }
    }

    pub fn cgroup(&self) -> String {
        format!("/portolan-test-{}", self.id)
    }

    pub fn write(&self, params: &ContainerParams) {
        self.write_changed(params, |_| {});
    }

    /// Writes the configuration after a change that parameters do not know.
    pub fn write_changed(&self, params: &ContainerParams, change: impl FnOnce(&mut Value)) {
        let mut spec = serde_json::to_value(container_spec(params)).unwrap();
        change(&mut spec);
        fs::write(self.path("config.json"), serde_json::to_vec(&spec).unwrap()).unwrap();
    }

    /// The runtime with its state in the bundle's folder; `{id}` is the container's.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_portolan-runtime"));
        command
            .arg("--root")
            .arg(self.path("state"))
            .current_dir(self.folder.path());
        command.args(arguments.iter().map(|word| word.replace("{id}", &self.id)));
        command
    }

    pub fn verb(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// As [`Bundle::verb`], which must succeed; answers standard output.
    pub fn ok(&self, arguments: &[&str]) -> String {
        let output = self.verb(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// As [`Bundle::verb`], which must fail; answers what it says.
    pub fn refused(&self, arguments: &[&str]) -> String {
        let output = self.verb(arguments);
        assert!(!output.status.success(), "{arguments:?}: {}", text(&output));
        text(&output)
    }

    pub fn run(&self, params: &ContainerParams) -> Output {
        self.write(params);
        self.verb(&["run", "{id}"])
    }

    /// Creates and starts; output goes to the file `out`.
    pub fn start(&self, params: &ContainerParams) {
        self.write(params);
        self.create();
        self.ok(&["start", "{id}"]);
    }

    pub fn create(&self) {
        let out = fs::File::create(self.path("out")).unwrap();
        let mut command = self.command(&["create", "--pid-file", "pid", "{id}"]);
        let status = command.stdout(out.try_clone().unwrap()).stderr(out).status().unwrap();
        assert!(status.success(), "{}", self.output());
    }

    pub fn output(&self) -> String {
        fs::read_to_string(self.path("out")).unwrap()
    }

    pub fn state(&self) -> Value {
        serde_json::from_str(&self.ok(&["state", "{id}"])).unwrap()
    }

    pub fn pid(&self) -> u32 {
        fs::read_to_string(self.path("pid")).unwrap().parse().unwrap()
    }

    pub fn wait_until(&self, what: &str, done: impl Fn(&Bundle) -> bool) {
        let begun = Instant::now();
        while !done(self) {
            assert!(
                begun.elapsed() < Duration::from_secs(10),
                "never {what}: {}",
                self.output()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn wait_until_stopped(&self) {
        self.wait_until("stopped", |bundle| bundle.state()["status"] == "stopped");
    }

    /// The container's folders in the host's hierarchies.
    pub fn cgroups(&self) -> Vec<PathBuf> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let points = mounts
            .lines()
            .filter(|line| line.contains(" - cgroup"))
            .filter_map(|line| line.split(' ').nth(4));
        points
            .map(|point| PathBuf::from(format!("{point}{}", self.cgroup())))
            .filter(|path| path.is_dir())
            .collect()
    }

    /// A cgroup's file in whichever hierarchy has it, and by either version's name.
    pub fn cgroup_file(&self, names: &[&str]) -> String {
        let folders = self.cgroups();
        let mut files = folders
            .iter()
            .flat_map(|folder| names.iter().map(|name| folder.join(name)));
        let found = files.find_map(|file| fs::read_to_string(file).ok());
        found
            .unwrap_or_else(|| panic!("none of {names:?} in {folders:?}"))
            .trim()
            .to_owned()
    }

    /// Whether this machine has the unified hierarchy alone.
    pub fn is_unified(&self) -> bool {
        !fs::read_to_string("/proc/self/mountinfo")
            .unwrap()
            .contains(" - cgroup ")
    }

    /// Nothing of the container is left.
    pub fn assert_gone(&self) {
        assert!(!self.path("state").join(&self.id).exists(), "its folder is left");
        assert_eq!(self.cgroups(), Vec::<PathBuf>::new(), "its cgroup is left");
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        let _ = self.verb(&["delete", "--force", "{id}"]);
    }
}

pub fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}
