//! A bundle: a folder with a configuration (OCI runtime-spec, bundle.md), and what of a configuration this runtime does.

use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};

use oci_spec::runtime::{Linux, LinuxNamespaceType, LinuxSeccomp, Mount, Process, Spec, User};

use crate::capabilities::Capabilities;
use crate::error::{Error, Result, invalid, unsupported};
use crate::seccomp::default_profile;
use crate::spec::annotation;
use crate::sysctl;

/// The configuration, read and found to ask for nothing that cannot be done.
#[derive(Debug)]
pub(crate) struct Bundle {
    /// Absolute.
    pub folder: PathBuf,
    pub spec: Spec,
    /// As it was read, for later verbs: the bundle may change or go.
    pub text: Vec<u8>,
}

impl Bundle {
    pub fn read(folder: &Path) -> Result<Bundle> {
        let path = folder.join("config.json");
        let failed = |source| Error::Config {
            path: path.clone(),
            source,
        };
        let folder = folder.canonicalize().map_err(failed)?;
        let text = fs::read(&path).map_err(failed)?;
        let spec = parse(&text, &path)?;
        let bundle = Bundle { folder, spec, text };
        check(&bundle.spec)?;
        Ok(bundle)
    }

    pub fn linux(&self) -> &Linux {
        self.spec.linux().as_ref().expect("`check` refuses one without")
    }

    pub fn rootfs(&self) -> PathBuf {
        let root = self.spec.root().as_ref().map(|root| root.path().clone());
        self.folder.join(root.unwrap_or_default())
    }
}

pub(crate) fn parse(text: &[u8], path: &Path) -> Result<Spec> {
    serde_json::from_slice(text).map_err(|error| Error::Config {
        path: path.to_owned(),
        source: error.into(),
    })
}

/// The filter for a container's processes: what the bundle brings, or this runtime's own where it asks for that.
pub(crate) fn seccomp(spec: &Spec) -> Option<Cow<'_, LinuxSeccomp>> {
    if asks_default_seccomp(spec).is_none() {
        let brought = spec.linux().as_ref()?.seccomp().as_ref()?;
        return Some(Cow::Borrowed(brought));
    }
    let process = spec.process().as_ref();
    let sets = Capabilities::from_spec(process.and_then(|process| process.capabilities().as_ref()));
    Some(Cow::Owned(default_profile(sets.bounding)))
}

fn asks_default_seccomp(spec: &Spec) -> Option<&String> {
    spec.annotations().as_ref()?.get(annotation::SECCOMP)
}

/// Nothing is dropped silently: what cannot be done ends the container before it begins.
fn check(spec: &Spec) -> Result<()> {
    if !spec.version().starts_with("1.") {
        return unsupported(format!("the version {} of the specification", spec.version()));
    }
    let process = spec
        .process()
        .as_ref()
        .ok_or_else(|| invalid("the configuration has no process"))?;
    let linux = spec
        .linux()
        .as_ref()
        .ok_or_else(|| invalid("the configuration has no linux section"))?;
    if spec.root().is_none() {
        return Err(invalid("the configuration has no root"));
    }
    refuse(&[
        ("`solaris`", spec.solaris().is_some()),
        ("`windows`", spec.windows().is_some()),
        ("`vm`", spec.vm().is_some()),
        ("`zos`", spec.zos().is_some()),
        ("`hooks`", spec.hooks().is_some()),
    ])?;
    check_process(process)?;
    check_linux(linux)?;
    let settings = linux.sysctl().iter().flatten().map(|(name, _)| name);
    sysctl::check(settings, linux.namespaces().as_deref().unwrap_or_default())?;
    check_namespaces(spec, linux)?;
    check_seccomp(spec, linux)?;
    spec.mounts().iter().flatten().try_for_each(check_mount)
}

/// Also for a process that enters a container later.
pub(crate) fn check_process(process: &Process) -> Result<()> {
    refuse(&[
        ("`process.apparmorProfile`", process.apparmor_profile().is_some()),
        ("`process.selinuxLabel`", process.selinux_label().is_some()),
        ("`process.ioPriority`", process.io_priority().is_some()),
        ("`process.scheduler`", process.scheduler().is_some()),
        ("`process.execCPUAffinity`", process.exec_cpu_affinity().is_some()),
        ("`process.commandLine`", process.command_line().is_some()),
        ("`process.user.username`", process.user().username().is_some()),
    ])?;
    if !process.cwd().is_absolute() {
        return Err(invalid("`process.cwd` is not absolute"));
    }
    check_user(process.user())?;
    match process.args().as_deref().unwrap_or_default() {
        [] => Err(invalid("the process has no arguments")),
        _ => Ok(()),
    }
}

/// The last number means "leave it as it is" to the kernel: the process would stay root (CVE-2024-40635).
fn check_user(user: &User) -> Result<()> {
    let groups = user.additional_gids().iter().flatten().copied();
    match groups.chain([user.uid(), user.gid()]).any(|number| number == u32::MAX) {
        true => Err(invalid(format!(
            "`process.user` has the number {}, which is nobody's",
            u32::MAX
        ))),
        false => Ok(()),
    }
}

fn check_linux(linux: &Linux) -> Result<()> {
    let is_private = |word: &String| ["private", "rprivate"].contains(&word.as_str());
    let not_empty = |list: Option<usize>| list.is_some_and(|length| length > 0);
    refuse(&[
        (
            "`linux.netDevices`",
            not_empty(linux.net_devices().as_ref().map(|map| map.len())),
        ),
        (
            "`linux.uidMappings`",
            not_empty(linux.uid_mappings().as_ref().map(Vec::len)),
        ),
        (
            "`linux.gidMappings`",
            not_empty(linux.gid_mappings().as_ref().map(Vec::len)),
        ),
        (
            "`linux.rootfsPropagation` other than private",
            linux
                .rootfs_propagation()
                .as_ref()
                .is_some_and(|word| !is_private(word)),
        ),
        ("`linux.mountLabel`", linux.mount_label().is_some()),
        ("`linux.intelRdt`", linux.intel_rdt().is_some()),
        ("`linux.memoryPolicy`", linux.memory_policy().is_some()),
        ("`linux.personality`", linux.personality().is_some()),
        ("`linux.timeOffsets`", linux.time_offsets().is_some()),
    ])
}

fn check_namespaces(spec: &Spec, linux: &Linux) -> Result<()> {
    let namespaces = linux.namespaces().as_deref().unwrap_or_default();
    let find = |kind| namespaces.iter().find(|one| one.typ() == kind);
    refuse(&[
        (
            "a container without a mount namespace",
            find(LinuxNamespaceType::Mount).is_none(),
        ),
        (
            "joining a mount namespace",
            find(LinuxNamespaceType::Mount).is_some_and(|one| one.path().is_some()),
        ),
        ("a user namespace", find(LinuxNamespaceType::User).is_some()),
        ("a time namespace", find(LinuxNamespaceType::Time).is_some()),
        (
            "a host name without a uts namespace",
            (spec.hostname().is_some() || spec.domainname().is_some()) && find(LinuxNamespaceType::Uts).is_none(),
        ),
    ])
}

fn check_seccomp(spec: &Spec, linux: &Linux) -> Result<()> {
    let name = annotation::SECCOMP;
    match asks_default_seccomp(spec).map(String::as_str) {
        Some("default") if linux.seccomp().is_some() => Err(invalid(format!(
            "`linux.seccomp` and the annotation `{name}` are two filters for one container"
        ))),
        None | Some("default") => Ok(()),
        Some(other) => unsupported(format!("the annotation `{name}` with the value `{other}`")),
    }
}

/// A mount on a part of /proc makes files of the kernel something else (CVE-2019-19921, CVE-2025-52881).
fn check_mount(mount: &Mount) -> Result<()> {
    let destination = mount.destination();
    if !destination.is_absolute() {
        return Err(invalid(format!(
            "the mount at {} is not absolute",
            destination.display()
        )));
    }
    if destination
        .components()
        .any(|part| part == std::path::Component::ParentDir)
    {
        return Err(invalid(format!(
            "the mount at {} climbs by `..`",
            destination.display()
        )));
    }
    let is_proc = mount.typ().as_deref() == Some("proc");
    if destination.starts_with("/proc") && !(is_proc && destination == Path::new("/proc")) {
        return unsupported(format!("a mount on {}", destination.display()));
    }
    let mapped = mount.uid_mappings().is_some() || mount.gid_mappings().is_some();
    refuse(&[("a mount with mappings of ids", mapped)])
}

fn refuse(asked: &[(&str, bool)]) -> Result<()> {
    match asked.iter().find(|(_, asked)| *asked) {
        Some((what, _)) => unsupported(*what),
        None => Ok(()),
    }
}
