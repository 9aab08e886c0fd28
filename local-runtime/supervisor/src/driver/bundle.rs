//! What the runtime is given for one start of one container: a folder with a configuration, two fifos and small files.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use nix::sys::stat::Mode;
use portolan_oci::spec::{BindMount, ContainerParams, Limits, Network, User, Writable, container_spec};
use serde_json::json;

use super::runtime::Output;
use super::users::{self, UserError};
use crate::cgroups;
use crate::machine::{self, ContainerKey};
use crate::protocol::WindowSize;
use crate::secrets::{self, SecretError};
use crate::spec::ContainerSpec;
use crate::storage::{Paths, StorageError, create_folder, remove_folder};

/// As Docker has it for images that set none.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

type Variables = BTreeMap<String, String>;

#[derive(Debug, thiserror::Error)]
pub(super) enum BundleError {
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error(transparent)]
    User(#[from] UserError),
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error("the layer {} is not there any more", .0.display())]
    LayerGone(PathBuf),
    #[error("cannot make {}", path.display())]
    Make { path: PathBuf, source: io::Error },
}

/// Which container of which app, and where it lives.
pub(super) struct Place<'a> {
    pub paths: &'a Paths,
    pub instance: &'a str,
    pub key: &'a ContainerKey,
}

/// What a container sees of networks: its pod's namespace, by path, and where names are asked for.
pub(super) struct Surroundings {
    pub namespace: PathBuf,
    pub resolv_conf: String,
}

/// The paths in a bundle.
#[derive(Clone, Debug)]
pub(super) struct Bundle {
    pub folder: PathBuf,
}

impl Bundle {
    pub fn at(folder: PathBuf) -> Bundle {
        Bundle { folder }
    }

    pub fn stdout(&self) -> PathBuf {
        self.folder.join("stdout")
    }

    pub fn stderr(&self) -> PathBuf {
        self.folder.join("stderr")
    }

    pub fn pid_file(&self) -> PathBuf {
        self.folder.join("pid")
    }

    fn config(&self) -> PathBuf {
        self.folder.join("config.json")
    }

    /// The container's ends of its fifos. Both are opened for reading too: the container then is a reader of its own
    /// output, so that while no supervisor reads, writing waits at 64 KiB and never ends in SIGPIPE.
    pub fn output(&self) -> Result<Output, BundleError> {
        let open = |path: PathBuf| {
            let opened = OpenOptions::new().read(true).write(true).open(&path);
            opened.map_err(|source| BundleError::Make { path, source })
        };
        Ok(Output {
            stdout: open(self.stdout())?,
            stderr: open(self.stderr())?,
        })
    }
}

/// Writes the bundle afresh, with an empty writable layer.
///
/// Values of secrets are in the configuration, which only root can read and which goes when the container does: the
/// runtime knows no other way for them. The run folder is for this reason best on a tmpfs.
pub(super) fn write(place: &Place, spec: &ContainerSpec, around: Surroundings) -> Result<Bundle, BundleError> {
    if let Some(gone) = spec.layers.iter().find(|layer| !layer.is_dir()) {
        return Err(BundleError::LayerGone(gone.clone()));
    }
    let bundle = Bundle::at(place.paths.bundle(place.key));
    remove_folder(&bundle.folder)?;
    create_folder(&bundle.folder.join("rootfs"))?;
    let params = ContainerParams {
        writable: Some(writable_layer(place)?),
        network: Network::Path(around.namespace),
        mounts: mounts(place, spec, &bundle, around.resolv_conf)?,
        ..params(place, spec, secrets::environment(spec)?)?
    };
    for fifo in [bundle.stdout(), bundle.stderr()] {
        make_fifo(&fifo, &params.user)?;
    }
    write_config(&bundle, &params)?;
    Ok(bundle)
}

/// A further process of a container: as its main one, with other arguments and perhaps a terminal.
pub(super) fn exec_process(
    place: &Place,
    spec: &ContainerSpec,
    argv: &[String],
    terminal: Option<WindowSize>,
) -> Result<Vec<u8>, BundleError> {
    let mut env = secrets::environment(spec)?;
    if terminal.is_some() {
        env.entry("TERM".into()).or_insert_with(|| "xterm".into());
    }
    let params = ContainerParams {
        args: argv.to_vec(),
        terminal: terminal.is_some(),
        ..params(place, spec, env)?
    };
    let mut process = json!(container_spec(&params).process());
    if let Some(size) = terminal {
        process["consoleSize"] = json!({"height": size.rows, "width": size.columns});
    }
    Ok(process.to_string().into_bytes())
}

pub(super) fn write_file(path: &Path, content: &[u8], mode: u32) -> Result<(), BundleError> {
    let write = || {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(path)?;
        io::Write::write_all(&mut file, content)?;
        // Not by the mode of open, which the umask narrows.
        file.set_permissions(fs::Permissions::from_mode(mode))
    };
    write().map_err(|source| BundleError::Make {
        path: path.into(),
        source,
    })
}

fn params(place: &Place, spec: &ContainerSpec, env: Variables) -> Result<ContainerParams, BundleError> {
    let ids = users::resolve(&spec.user, &spec.layers)?;
    Ok(ContainerParams {
        lower: spec.layers.clone(),
        args: spec.command.clone(),
        env: environment(env, &ids.home),
        working_dir: spec.working_dir.clone(),
        user: User {
            uid: ids.uid,
            gid: ids.gid,
            additional_gids: ids.groups,
        },
        hostname: Some(machine::pod_hostname(&place.key.workload, place.key.pod)),
        limits: Limits {
            memory_bytes: spec.resources.memory_bytes,
            cpu_millis: spec.resources.cpu_millis,
            pids: spec.resources.pids,
        },
        cgroups_path: Some(cgroups::path(place.instance, place.key)),
        ..ContainerParams::default()
    })
}

/// PATH and HOME are there for whoever sets none.
fn environment(mut variables: Variables, home: &str) -> Vec<String> {
    for (name, value) in [("PATH", DEFAULT_PATH), ("HOME", home)] {
        variables.entry(name.into()).or_insert_with(|| value.into());
    }
    let entries = variables.into_iter();
    entries.map(|(name, value)| format!("{name}={value}")).collect()
}

/// What the container writes outside its volumes ends with it, so that each start finds the image as it was built.
fn writable_layer(place: &Place) -> Result<Writable, BundleError> {
    let folder = place.paths.layers(place.key.pod).join(&place.key.name);
    remove_folder(&folder)?;
    let layer = Writable {
        upper: folder.join("upper"),
        work: folder.join("work"),
    };
    create_folder(&layer.upper)?;
    create_folder(&layer.work)?;
    // The upper folder is the container's `/`, which every user of it may pass through.
    let open = fs::set_permissions(&layer.upper, fs::Permissions::from_mode(0o755));
    open.map_err(|source| BundleError::Make {
        path: layer.upper.clone(),
        source,
    })?;
    Ok(layer)
}

fn mounts(
    place: &Place,
    spec: &ContainerSpec,
    bundle: &Bundle,
    resolv_conf: String,
) -> Result<Vec<BindMount>, BundleError> {
    let host_name = machine::pod_hostname(&place.key.workload, place.key.pod);
    let mut mounts = vec![read_only(place.paths.hosts(place.key.pod), "/etc/hosts")];
    for (name, content) in [("hostname", format!("{host_name}\n")), ("resolv.conf", resolv_conf)] {
        let path = bundle.folder.join(name);
        write_file(&path, content.as_bytes(), 0o644)?;
        mounts.push(read_only(path, &format!("/etc/{name}")));
    }
    let volumes = spec.volumes.iter().map(|volume| BindMount {
        source: place.paths.volume(&volume.name),
        destination: (&volume.path).into(),
        read_only: volume.read_only,
    });
    mounts.extend(volumes);
    for (number, file) in spec.files.iter().enumerate() {
        let path = bundle.folder.join(format!("file-{number}"));
        write_file(&path, file.content.as_bytes(), file.mode)?;
        mounts.push(read_only(path, &file.path));
    }
    Ok(mounts)
}

fn read_only(source: PathBuf, destination: &str) -> BindMount {
    BindMount {
        source,
        destination: destination.into(),
        read_only: true,
    }
}

/// Owned by the container's user, who may open it again as /dev/stdout.
fn make_fifo(path: &Path, user: &User) -> Result<(), BundleError> {
    let made = nix::unistd::mkfifo(path, Mode::S_IRUSR | Mode::S_IWUSR).map_err(io::Error::from);
    let owned = made.and_then(|()| chown(path, Some(user.uid), Some(user.gid)));
    owned.map_err(|source| BundleError::Make {
        path: path.into(),
        source,
    })
}

fn write_config(bundle: &Bundle, params: &ContainerParams) -> Result<(), BundleError> {
    let config = serde_json::to_vec(&container_spec(params)).expect("a configuration has string keys only");
    write_file(&bundle.config(), &config, 0o600)
}

/// The pid that the runtime wrote.
pub(super) fn read_pid(path: &Path) -> io::Result<u32> {
    let text = fs::read_to_string(path)?;
    let parsed = text.trim().parse();
    parsed.map_err(|_| io::Error::new(io::ErrorKind::InvalidData, format!("{} holds no pid", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{FileSpec, SecretRef, VolumeMount};
    use crate::testing;

    fn paths(folder: &Path) -> Paths {
        Paths {
            run: folder.join("run"),
            state: folder.join("state"),
            data: folder.join("data"),
        }
    }

    fn nowhere() -> Surroundings {
        Surroundings {
            namespace: "/proc/1/ns/net".into(),
            resolv_conf: String::new(),
        }
    }

    fn read(bundle: &Bundle) -> String {
        fs::read_to_string(bundle.config()).unwrap()
    }

    #[test]
    fn secrets_are_read_at_each_start_and_lie_in_the_run_folder_alone() {
        let folder = tempfile::tempdir().unwrap();
        let secrets = folder.path().join("secrets.env");
        fs::write(&secrets, "API_KEY=hunter2\n").unwrap();
        let mut spec = testing::container("main");
        spec.layers = vec![folder.path().into()];
        let reference = SecretRef {
            files: vec![secrets.clone()],
            key: "API_KEY".into(),
        };
        spec.secret_env.insert("TOKEN".into(), reference);
        let (paths, key) = (paths(folder.path()), testing::key("main"));
        let place = Place {
            paths: &paths,
            instance: "default.shop.0",
            key: &key,
        };
        let bundle = write(&place, &spec, nowhere()).unwrap();
        assert!(read(&bundle).contains("TOKEN=hunter2"), "the runtime needs it");
        let mode = fs::metadata(bundle.config()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "and nobody but root can read it");
        fs::write(secrets, "API_KEY=changed\n").unwrap();
        let process = exec_process(&place, &spec, &["sh".into()], None).unwrap();
        assert!(
            String::from_utf8(process).unwrap().contains("TOKEN=changed"),
            "read again for an exec"
        );
    }

    #[test]
    fn files_and_volumes_are_bound_and_a_layer_that_is_gone_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let (paths, key) = (paths(folder.path()), testing::key("main"));
        let place = Place {
            paths: &paths,
            instance: "default.shop.0",
            key: &key,
        };
        let mut spec = testing::container("main");
        let error = write(&place, &spec, nowhere()).unwrap_err();
        assert!(error.to_string().contains("/layers/test"), "{error}");
        spec.layers = vec![folder.path().into()];
        spec.files.push(FileSpec {
            path: "/etc/app.toml".into(),
            content: "a=1".into(),
            mode: 0o640,
        });
        spec.volumes.push(VolumeMount {
            name: "db".into(),
            path: "/data".into(),
            read_only: false,
        });
        let bundle = write(&place, &spec, nowhere()).unwrap();
        let config: serde_json::Value = serde_json::from_str(&read(&bundle)).unwrap();
        let to = |path: &str| {
            let mounts = config["mounts"].as_array().unwrap();
            mounts
                .iter()
                .find(|mount| mount["destination"] == path)
                .cloned()
                .unwrap()
        };
        assert_eq!(
            to("/data")["source"],
            folder.path().join("data/volumes/db").to_str().unwrap()
        );
        let file = fs::metadata(to("/etc/app.toml")["source"].as_str().unwrap()).unwrap();
        assert_eq!(
            file.permissions().mode() & 0o777,
            0o640,
            "the mode is the spec's, whatever the umask"
        );
        assert_eq!(config["linux"]["cgroupsPath"], "/portolan/default.shop.0/web.7.main");
    }
}
