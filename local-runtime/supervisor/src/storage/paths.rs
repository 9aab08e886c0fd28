//! Every path of one app's supervisor, in one place.

use std::path::PathBuf;

use crate::machine::ContainerKey;
use crate::spec::Kind;

/// The three folders, and what lies in them.
#[derive(Clone, Debug)]
pub struct Paths {
    pub run: PathBuf,
    pub state: PathBuf,
    pub data: PathBuf,
}

impl Paths {
    /// The runtime's own records (`portolan-runtime --root`).
    pub fn runtime_root(&self) -> PathBuf {
        self.run.join("runtime")
    }

    pub fn pods(&self) -> PathBuf {
        self.run.join("pods")
    }

    pub fn pod(&self, pod: u64) -> PathBuf {
        self.pods().join(pod.to_string())
    }

    pub fn hosts(&self, pod: u64) -> PathBuf {
        self.pod(pod).join("hosts")
    }

    pub fn bundle(&self, key: &ContainerKey) -> PathBuf {
        self.pod(key.pod).join("containers").join(&key.name)
    }

    /// What one exec in a container of the pod needs while it runs.
    pub fn exec(&self, pod: u64, number: u64) -> PathBuf {
        self.pod(pod).join("execs").join(number.to_string())
    }

    pub fn state_file(&self) -> PathBuf {
        self.state.join("state.json")
    }

    /// Writable layers of a pod's containers.
    pub fn layers(&self, pod: u64) -> PathBuf {
        self.all_layers().join(pod.to_string())
    }

    pub fn all_layers(&self) -> PathBuf {
        self.state.join("layers")
    }

    pub fn all_logs(&self) -> PathBuf {
        self.state.join("logs")
    }

    pub fn logs(&self, kind: Kind, workload: &str) -> PathBuf {
        self.all_logs().join(format!("{kind}-{workload}"))
    }

    pub fn log(&self, key: &ContainerKey) -> PathBuf {
        self.logs(key.kind, &key.workload)
            .join(format!("{}.{}.log", key.pod, key.name))
    }

    pub fn volumes(&self) -> PathBuf {
        self.data.join("volumes")
    }

    pub fn volume(&self, name: &str) -> PathBuf {
        self.volumes().join(name)
    }

    pub fn volume_list(&self) -> PathBuf {
        self.data.join("volumes.json")
    }

    pub fn jobs(&self) -> PathBuf {
        self.data.join("jobs")
    }

    pub fn job_record(&self, job: &str) -> PathBuf {
        self.jobs().join(format!("{job}.json"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn no_name_of_a_container_meets_a_file_of_the_pod() {
        let paths = Paths {
            run: "/run".into(),
            state: "/state".into(),
            data: "/data".into(),
        };
        let others = [paths.hosts(7), paths.exec(7, 0)];
        for name in ["hosts", "exec-0", "execs", "containers", "0"] {
            let bundle = paths.bundle(&testing::key(name));
            let apart = |other: &PathBuf| !bundle.starts_with(other) && !other.starts_with(&bundle);
            assert!(others.iter().all(apart), "a container named `{name}`");
        }
    }
}
