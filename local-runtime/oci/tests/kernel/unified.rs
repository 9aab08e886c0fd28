//! The same tests on the unified hierarchy of cgroups: in user mode Linux, a kernel that runs as a program.
//!
//! A machine that has controllers on hierarchies of version 1 cannot have them on version 2 at the same time. The guest
//! has cpu, io, memory and pids there (no cpuset, no hugetlb), and sees this machine's files as its own; what its tests
//! write goes to a tmpfs. Its kernel has no overlay, so that containers have their layer itself as root. Each program
//! that is started costs ten times as much there: tests that say nothing about cgroups are left out.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Which tests the guest runs: all that begin so.
const CHOICE: [&str; 7] = [
    "cgroup::",
    "limits::",
    "life::a_container_goes_through_its_life",
    "life::a_killed_run_is_cleaned_up_by_delete",
    "life::kill_reaches_the_first_process_or_all",
    "life::run_passes_signals_on_and_leaves_nothing",
    "exec::exec_takes_a_process_file_and_detaches",
];

/// Many times what it takes.
const LIMIT: Duration = Duration::from_secs(300);

#[test]
fn life_and_limits_on_the_unified_hierarchy() {
    let test = "life_and_limits_on_the_unified_hierarchy";
    let Some(kernel) = kernel() else {
        eprintln!("SKIP {test}: no user mode Linux (linux.uml of Debian's user-mode-linux)");
        return;
    };
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let said = Guest::boot(&kernel, folder.path()).output();
    if starts_no_program(&said) {
        eprintln!(
            "SKIP {test}: user mode Linux starts no program on this processor (its AMX registers are more than it keeps)"
        );
        return;
    }
    assert!(!said.contains("SKIP "), "something could not be tried:\n{said}");
    let result = format!("test result: ok. {} passed; 0 failed", chosen());
    assert!(said.contains(&result), "no `{result}` in\n{said}");
}

/// Its first one, a shell, has ended by SIGSEGV before it said anything: a processor with AMX has more registers than a kernel
/// of 6.1 has room for.
fn starts_no_program(said: &str) -> bool {
    let has_amx = || fs::read_to_string("/proc/cpuinfo").is_ok_and(|text| text.contains(" amx_tile"));
    said.contains("Attempted to kill init! exitcode=0x0000000b") && !said.contains("running ") && has_amx()
}

fn kernel() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join("linux.uml"))
        .find(|file| file.is_file())
}

/// How many tests there are for the guest.
fn chosen() -> usize {
    let tests = Command::new(std::env::current_exe().unwrap())
        .args(CHOICE)
        .args(["--list", "--format", "terse"])
        .output()
        .unwrap();
    let tests = String::from_utf8(tests.stdout).unwrap();
    tests.lines().filter(|line| line.ends_with(": test")).count()
}

/// A kernel with its processes, in a process group of their own.
struct Guest {
    kernel: Child,
    console: PathBuf,
}

impl Guest {
    fn boot(kernel: &Path, folder: &Path) -> Guest {
        let (init, console) = (folder.join("init"), folder.join("console"));
        fs::create_dir(folder.join("tmp")).unwrap();
        fs::write(&init, init_script(&folder.join("tmp"))).unwrap();
        fs::set_permissions(&init, fs::Permissions::from_mode(0o755)).unwrap();
        let out = File::create(&console).unwrap();
        let kernel = Command::new(kernel)
            .args([
                "mem=256M",
                "rootfstype=hostfs",
                "rw",
                "quiet",
                "loglevel=1",
                "con=null",
                "con0=fd:0,fd:1",
            ])
            .arg(format!("init={}", init.display()))
            .arg(format!("uml_dir={}", folder.display()))
            .env_clear()
            .stdin(Stdio::null())
            .stdout(out.try_clone().unwrap())
            .stderr(out)
            .process_group(0)
            .spawn()
            .unwrap();
        Guest { kernel, console }
    }

    /// What its console showed, once it has halted.
    fn output(mut self) -> String {
        let begun = Instant::now();
        while self.kernel.try_wait().unwrap().is_none() && begun.elapsed() < LIMIT {
            std::thread::sleep(Duration::from_millis(50));
        }
        let said = fs::read(&self.console).unwrap();
        String::from_utf8_lossy(&said).replace('\r', "")
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if self.kernel.try_wait().is_ok_and(|ended| ended.is_none()) {
            // SAFETY: kill(2) takes two numbers; the group is the guest's, whose leader nobody has waited for.
            unsafe { libc::kill(-(self.kernel.id() as i32), libc::SIGKILL) };
            _ = self.kernel.wait();
        }
    }
}

/// The guest's first process: this program again, then the end.
fn init_script(tmp: &Path) -> String {
    let program = std::env::current_exe().unwrap();
    let (program, tmp, here) = (program.display(), tmp.display(), env!("CARGO_MANIFEST_DIR"));
    let choice = CHOICE.join(" ");
    format!(
        "#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin TMPDIR='{tmp}' RUST_BACKTRACE=0
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs tmpfs '{tmp}'
cd '{here}'
'{program}' --test-threads=1 --color=never {choice}
halt -f
"
    )
}
