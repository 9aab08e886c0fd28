//! Files: ECS puts none into a container, so that another container writes them, before all others, into volumes that last as long
//! as the task. A volume covers a folder, and hides what the image has in it.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use portolan_core::desired::DesiredFile;

use super::Renderer;
use super::container::Running;
use super::task::Task;
use crate::requests::Late;
use crate::requests::task::{Condition, ContainerDefinition, ContainerDependency, KeyValuePair, MountPoint, Volume};

/// No name of a manifest has an underscore.
const WRITER: &str = "portolan_files";

/// Folders without which nothing runs.
const NEEDED: &[&str] = &[
    "/",
    "/bin",
    "/dev",
    "/etc",
    "/lib",
    "/lib64",
    "/proc",
    "/run",
    "/sbin",
    "/sys",
    "/usr",
    "/usr/bin",
    "/usr/lib",
    "/usr/local/bin",
    "/usr/sbin",
    "/var",
];

/// A folder of a container, and the files in it.
struct Folder<'a> {
    container: &'a str,
    path: String,
    files: Vec<&'a DesiredFile>,
}

impl Renderer<'_> {
    pub(super) fn with_files(
        &mut self,
        task: &Task<'_>,
        containers: &mut Vec<ContainerDefinition>,
        volumes: &mut Vec<Volume>,
    ) {
        let folders: Vec<Folder<'_>> = task.running().flat_map(folders).collect();
        if folders.is_empty() {
            return;
        }
        task.running().for_each(|running| self.check_folders(running));
        let Some(image) = self.files_image(task) else { return };
        let mut writer = self.writer(task, image);
        let mut script = Vec::new();
        for (number, folder) in folders.iter().enumerate() {
            let volume = format!("{WRITER}_{number}");
            let inside = format!("/files/{number}");
            script.extend(written(folder, &inside, &mut writer.environment));
            writer.mount_points.push(mount(&volume, &inside, false));
            let user = containers.iter_mut().find(|one| one.name == folder.container);
            user.into_iter().for_each(|one| {
                one.mount_points.push(mount(&volume, &folder.path, true));
                wait_for_files(one);
            });
            volumes.push(Volume {
                name: volume,
                efs_volume_configuration: None,
            });
        }
        writer.command = Some(vec![format!("set -e; {}", script.join("; "))]);
        containers.push(writer);
    }

    fn check_folders(&mut self, running: &Running<'_>) {
        for (at, file) in running.container.files.iter().enumerate() {
            let folder = folder_of(&file.path);
            if NEEDED.contains(&folder) {
                let message = format!("a volume over `{folder}` would hide what every container needs there");
                self.fault(
                    "FileUnsupported",
                    message,
                    format!("{}/files/{at}/path", running.origin),
                )
                .hint("put the file into a folder of its own, as in `/etc/app/app.toml`");
            }
        }
    }

    fn files_image(&mut self, task: &Task<'_>) -> Option<String> {
        let image = self.target.files_image.clone();
        if image.is_none() {
            let with_files = task.running().find(|running| !running.container.files.is_empty());
            let origin = with_files.map_or(task.part.origin, |running| &running.origin);
            let message = "ECS puts no files into containers, and the Target names no image that writes them";
            self.fault("FileUnsupported", message, format!("{origin}/files"))
                .hint("`ecs: {filesImage: ...}` in the Target, with a shell, `mkdir` and `base64`");
        }
        image
    }

    fn writer(&mut self, task: &Task<'_>, image: String) -> ContainerDefinition {
        ContainerDefinition {
            entry_point: Some(Late::Known(vec!["sh".to_string(), "-c".to_string()])),
            ..self.own_container(task, WRITER, image, WRITER_MEMORY)
        }
    }
}

/// MiB, where a container has to say how much it takes.
const WRITER_MEMORY: u64 = 32;

/// Those that lie in none of the others.
fn folders<'a>(running: &Running<'a>) -> Vec<Folder<'a>> {
    let files = &running.container.files;
    let all: BTreeSet<&str> = files.iter().map(|file| folder_of(&file.path)).collect();
    let outermost = |path: &str| all.iter().copied().find(|folder| is_in(path, folder)).unwrap_or("/");
    let mut found: BTreeMap<&str, Vec<&DesiredFile>> = BTreeMap::new();
    for file in files {
        found.entry(outermost(&file.path)).or_default().push(file);
    }
    let folder = |(path, files): (&str, Vec<&'a DesiredFile>)| Folder {
        container: running.name,
        path: path.to_string(),
        files,
    };
    found.into_iter().map(folder).collect()
}

fn folder_of(path: &str) -> &str {
    match path.rsplit_once('/') {
        Some(("", _)) | None => "/",
        Some((folder, _)) => folder,
    }
}

fn is_in(path: &str, folder: &str) -> bool {
    let rest = path.strip_prefix(folder.trim_end_matches('/'));
    rest.is_some_and(|rest| rest.starts_with('/'))
}

/// The words of a shell that write the files of a folder, each from a variable of its own.
fn written(folder: &Folder<'_>, inside: &str, environment: &mut Vec<KeyValuePair>) -> Vec<String> {
    let mut words = Vec::new();
    for file in &folder.files {
        let name = format!("FILE_{}", environment.len());
        let below = file
            .path
            .strip_prefix(folder.path.trim_end_matches('/'))
            .unwrap_or(&file.path);
        let target = quoted(&format!("{inside}{below}"));
        let parent = quoted(folder_of(&format!("{inside}{below}")));
        words.push(format!(
            "mkdir -p {parent}; printf %s \"${name}\" | base64 -d > {target}"
        ));
        environment.push(KeyValuePair {
            name,
            value: Late::Known(STANDARD.encode(&file.content)),
        });
    }
    words
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

fn mount(volume: &str, path: &str, read_only: bool) -> MountPoint {
    MountPoint {
        source_volume: volume.to_string(),
        container_path: path.to_string(),
        read_only,
    }
}

fn wait_for_files(container: &mut ContainerDefinition) {
    if container.depends_on.iter().all(|one| one.container_name != WRITER) {
        container.depends_on.push(ContainerDependency {
            container_name: WRITER.to_string(),
            condition: Condition::Success,
        });
    }
}
