//! A limit as the kernel takes it: a value for a file of one controller. Turning a configuration into settings is pure;
//! what a controller's two versions make of it is in `v1.rs` and `v2.rs`.

use std::io;

use oci_spec::runtime::LinuxResources;

use super::dir::Dir;
use super::error::Error;
use super::layout::{Layout, Version};
use super::{v1, v2};

/// One write. `field` names what the user wrote, below `linux.resources`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Setting {
    pub controller: String,
    pub field: String,
    pub file: String,
    pub value: String,
    /// Another file and value with the same meaning, for kernels that lack the first.
    pub otherwise: Option<(String, String)>,
}

impl Setting {
    pub(super) fn new(controller: &str, field: &str, file: impl Into<String>, value: impl ToString) -> Setting {
        Setting {
            controller: controller.to_owned(),
            field: field.to_owned(),
            file: file.into(),
            value: value.to_string(),
            otherwise: None,
        }
    }

    pub(super) fn or(self, file: impl Into<String>, value: impl ToString) -> Setting {
        let otherwise = Some((file.into(), value.to_string()));
        Setting { otherwise, ..self }
    }

    fn write(&self, dir: &Dir) -> io::Result<()> {
        match (dir.write(&self.file, &self.value), &self.otherwise) {
            (Err(error), Some((file, value))) if error.kind() == io::ErrorKind::NotFound => dir.write(file, value),
            (answer, _) => answer,
        }
    }

    fn failed(&self, dir: &Dir, source: io::Error) -> Error {
        let file = dir.path().join(&self.file);
        Error::Set {
            field: self.field.clone(),
            value: self.value.clone(),
            file,
            source,
        }
    }
}

/// All settings but the list of devices, for the version in which this machine has each controller.
pub(super) fn settings(layout: &Layout, resources: &LinuxResources) -> Result<Vec<Setting>, Error> {
    let version = |controller| match layout.with_controller(controller) {
        Some(index) => layout.hierarchies[index].version,
        // Whoever asks for a controller that is not there is told so when its settings are written.
        None => layout
            .hierarchies
            .last()
            .map_or(Version::V2, |hierarchy| hierarchy.version),
    };
    let mut settings = Vec::new();
    if let Some(memory) = resources.memory() {
        settings.extend(match version("memory") {
            Version::V1 => v1::memory(memory)?,
            Version::V2 => v2::memory(memory)?,
        });
    }
    if let Some(cpu) = resources.cpu() {
        settings.extend(match version("cpu") {
            Version::V1 => v1::cpu(cpu)?,
            Version::V2 => v2::cpu(cpu)?,
        });
        // The two files have one name in both versions.
        settings.extend(
            cpu.cpus()
                .iter()
                .map(|cpus| Setting::new("cpuset", "cpu.cpus", "cpuset.cpus", cpus)),
        );
        settings.extend(
            cpu.mems()
                .iter()
                .map(|mems| Setting::new("cpuset", "cpu.mems", "cpuset.mems", mems)),
        );
    }
    if let Some(pids) = resources.pids() {
        let limit = if pids.limit() > 0 {
            pids.limit().to_string()
        } else {
            "max".to_owned()
        };
        settings.push(Setting::new("pids", "pids.limit", "pids.max", limit));
    }
    for page in resources.hugepage_limits().iter().flatten() {
        settings.push(match version("hugetlb") {
            Version::V1 => v1::huge_pages(page),
            Version::V2 => v2::huge_pages(page),
        });
    }
    if let Some(block_io) = resources.block_io() {
        settings.extend(match layout.with_controller("blkio") {
            Some(_) => v1::block_io(block_io)?,
            None => v2::block_io(block_io)?,
        });
    }
    if let Some(network) = resources.network() {
        settings.extend(v1::network(network));
    }
    for (device, limits) in resources.rdma().iter().flatten() {
        settings.extend(rdma(device, limits));
    }
    for (file, value) in resources.unified().iter().flatten() {
        settings.push(v2::unified(file, value)?);
    }
    Ok(settings)
}

fn rdma(device: &str, limits: &oci_spec::runtime::LinuxRdma) -> Option<Setting> {
    let handles = limits
        .hca_handles()
        .map(|count| format!(" hca_handle={count}"))
        .unwrap_or_default();
    let objects = limits
        .hca_objects()
        .map(|count| format!(" hca_object={count}"))
        .unwrap_or_default();
    let value = format!("{device}{handles}{objects}");
    (value != device).then(|| Setting::new("rdma", "rdma", "rdma.max", value))
}

/// Writes all settings of one controller's directory. Some limits bound each other, so that a later one must be
/// written before an earlier one: whatever the kernel finds inconsistent is tried again after the others.
pub(super) fn apply(dir: &Dir, settings: &[&Setting]) -> Result<(), Error> {
    let mut pending = settings.to_vec();
    while !pending.is_empty() {
        let mut refused = Vec::new();
        for setting in &pending {
            match setting.write(dir) {
                Ok(()) => {}
                Err(source) if source.raw_os_error() == Some(libc::EINVAL) => refused.push((*setting, source)),
                Err(source) => return Err(setting.failed(dir, source)),
            }
        }
        if refused.len() == pending.len() {
            let (setting, source) = refused.remove(0);
            return Err(setting.failed(dir, source));
        }
        pending = refused.into_iter().map(|(setting, _)| setting).collect();
    }
    Ok(())
}
