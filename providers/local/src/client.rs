//! The supervisors of this machine, one an app: found, started and spoken to. The few calls in use are the client
//! crate's own; here is only which supervisor to ask, and whether one may be started for it.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex as PlainMutex, PoisonError};

use portolan_core::name::{NameGrammar, native_name};
use portolan_core::plan::Scope;
use portolan_provider_api::CallError;
use portolan_supervisor::client::Client;
use portolan_supervisor::data;
use portolan_supervisor::error::ClientError;
use portolan_supervisor::keeper;
use portolan_supervisor::launch::{Launch, ensure_running};
use portolan_supervisor::outside;
use portolan_supervisor::protocol::{Observation, socket_path};
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::LocalSettings;
use crate::error;

/// A connection for requests, kept open: the protocol answers them one at a time.
type Slot = Arc<Mutex<Option<Client>>>;

pub struct Supervisors {
    settings: LocalSettings,
    slots: PlainMutex<HashMap<String, Slot>>,
    /// Apps that were written to from here: their supervisor is kept going until the command ends.
    written: PlainMutex<HashSet<String>>,
}

/// What a look has found.
pub enum Found {
    /// The supervisor's own words.
    Running(Observation),
    /// The last words of one that is gone. The containers may run on, but nobody looks after them.
    Left(Observation),
}

impl Supervisors {
    pub fn new(settings: LocalSettings) -> Self {
        Self {
            settings,
            slots: PlainMutex::default(),
            written: PlainMutex::default(),
        }
    }

    /// What there is of the app. Nothing is started only to be asked, so that a look after a reboot changes nothing;
    /// but a supervisor that this command has written to, and that was killed since, is started again.
    pub async fn look(&self, scope: &Scope) -> Result<Found, CallError> {
        let launch = self.launch(&scope.namespace, &scope.app)?;
        let mut slot = self.slot(&launch).await;
        let client = match slot.take() {
            Some(client) => Some(client),
            None => running(&launch).await?,
        };
        let client = match client {
            Some(client) => client,
            None => {
                let left = last_known(&launch)?;
                if left.objects.is_empty() || !self.is_written(&launch) {
                    return Ok(Found::Left(left));
                }
                ensure_running(&launch).await.map_err(error::launch)?
            }
        };
        let mut held = Held { slot, client };
        let observation = held.client.observe().await.map_err(error::client)?;
        held.give_back();
        Ok(Found::Running(observation))
    }

    /// The connection for writes, made if there is none; the supervisor is started if none answers.
    pub async fn connection(&self, scope: &Scope) -> Result<Held, CallError> {
        let launch = self.launch(&scope.namespace, &scope.app)?;
        let mut slot = self.slot(&launch).await;
        let client = match slot.take() {
            Some(client) => client,
            None => ensure_running(&launch).await.map_err(error::launch)?,
        };
        self.note_written(&launch);
        Ok(Held { slot, client })
    }

    /// Begins to start a supervisor for an app of which there is nothing, and does not wait for it: the connection that
    /// asks for it next finds it on its way. One that is asked for nothing ends by itself, and leaves nothing.
    pub fn begin(self: &Arc<Self>, namespace: &str, app: &str) -> Result<(), CallError> {
        let launch = self.launch(namespace, app)?;
        if is_known(&launch) {
            return Ok(());
        }
        let this = self.clone();
        tokio::spawn(async move {
            let mut slot = this.slot(&launch).await;
            if slot.is_none() {
                // Why it failed is told to whoever needs it, and tries again.
                *slot = ensure_running(&launch).await.ok();
            }
        });
        Ok(())
    }

    /// Whether somebody holds the app's ports, though no supervisor runs.
    pub fn has_keeper(&self, scope: &Scope) -> Result<bool, CallError> {
        Ok(keeper::is_there(&self.launch(&scope.namespace, &scope.app)?.run_dir))
    }

    /// A connection of its own, for what ends the rhythm of requests: logs and exec. Nothing is started for them.
    pub async fn connect(&self, scope: &Scope) -> Result<Client, CallError> {
        let launch = self.launch(&scope.namespace, &scope.app)?;
        match running(&launch).await? {
            Some(client) => Ok(client),
            None if launch.state_dir.exists() => Err(error::nobody_looks_after(scope)),
            None => Err(error::not_running(scope)),
        }
    }

    /// What a supervisor has left, whether or not there is one.
    pub fn left(&self, scope: &Scope) -> Result<Observation, CallError> {
        last_known(&self.launch(&scope.namespace, &scope.app)?)
    }

    /// Whether there is, or was, anything of this app on the machine: a supervisor or its state.
    pub fn is_known(&self, scope: &Scope) -> Result<bool, CallError> {
        Ok(is_known(&self.launch(&scope.namespace, &scope.app)?))
    }

    /// Where this app's supervisor lives, unless the path of its socket is longer than the kernel takes.
    fn launch(&self, namespace: &str, app: &str) -> Result<Launch, CallError> {
        let folder = folder_of(namespace, app);
        let settings = &self.settings;
        let launch = Launch {
            binary: settings.supervisor.clone(),
            runtime: settings.runtime.clone(),
            app: format!("{namespace}/{app}"),
            run_dir: settings.run_dir.join(&folder),
            state_dir: settings.state_dir.join(&folder),
            data_dir: settings.data_dir.join(&folder),
            port_helper: outside::needed(&settings.run_dir.join(&folder)),
        };
        let socket = socket_path(&launch.run_dir);
        match socket.as_os_str().len() {
            0..=LONGEST_SOCKET_PATH => Ok(launch),
            bytes => Err(error::socket_path_too_long(&socket, bytes, LONGEST_SOCKET_PATH)),
        }
    }

    async fn slot(&self, launch: &Launch) -> OwnedMutexGuard<Option<Client>> {
        let slot = {
            let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            slots.entry(launch.app.clone()).or_default().clone()
        };
        slot.lock_owned().await
    }

    fn note_written(&self, launch: &Launch) {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        written.insert(launch.app.clone());
    }

    fn is_written(&self, launch: &Launch) -> bool {
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        written.contains(&launch.app)
    }
}

/// The one connection, out of its slot. Dropped before it is given back, because a call was cancelled or has failed, it is
/// closed: an answer that is still on its way to it is read by nobody.
pub struct Held {
    slot: OwnedMutexGuard<Option<Client>>,
    pub client: Client,
}

impl Held {
    /// After a whole answer: the next request may come.
    pub fn give_back(self) {
        let Self { mut slot, client } = self;
        *slot = Some(client);
    }
}

fn is_known(launch: &Launch) -> bool {
    launch.run_dir.exists() || launch.state_dir.exists()
}

fn last_known(launch: &Launch) -> Result<Observation, CallError> {
    data::last_known(&launch.state_dir, &launch.data_dir).map_err(error::state)
}

/// The supervisor that answers now; one that is just ending is none.
async fn running(launch: &Launch) -> Result<Option<Client>, CallError> {
    match Client::connect(&launch.run_dir).await {
        Ok(client) => Ok(Some(client)),
        Err(ClientError::NotRunning { .. } | ClientError::Closed | ClientError::Receive { .. }) => Ok(None),
        Err(failure) => Err(error::client(failure)),
    }
}

/// sun_path holds 108 bytes with the NUL at its end (unix(7)).
const LONGEST_SOCKET_PATH: usize = 107;

/// Leaves 50 bytes to the folder above, and the rest to the socket's own name.
const LONGEST_FOLDER: usize = 40;

/// `NAMESPACE.NAME` where that is short: both are DNS labels, so a dot between them is injective. Else as much of it as
/// fits, without a dot, and a hash.
pub fn folder_of(namespace: &str, app: &str) -> String {
    let plain = format!("{namespace}.{app}");
    if plain.len() <= LONGEST_FOLDER {
        return plain;
    }
    let grammar = NameGrammar {
        max_length: LONGEST_FOLDER,
        ..NameGrammar::LABEL
    };
    native_name(&[namespace, app], grammar)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::path::{Path, PathBuf};
    use std::time::{Duration, Instant};

    use portolan_core::manifest::Egress;
    use portolan_core::name::OwnerId;
    use portolan_provider_api::ErrorClass;
    use serde_json::json;
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

    use super::*;
    use crate::TargetSettings;

    fn scope(namespace: &str, app: &str) -> Scope {
        Scope {
            namespace: namespace.into(),
            app: app.into(),
            target: "local".into(),
            owner: OwnerId::from_tag("ours"),
            source: "file".into(),
        }
    }

    fn supervisors(home: &Path) -> Supervisors {
        Supervisors::new(LocalSettings {
            supervisor: PathBuf::from("/nonexistent/portolan-supervisor"),
            runtime: PathBuf::from("/nonexistent/portolan-runtime"),
            run_dir: home.join("run"),
            state_dir: home.join("state"),
            data_dir: home.join("data"),
            target: TargetSettings {
                publish_address: Ipv4Addr::LOCALHOST,
                egress: Egress::default(),
                secret_files: Vec::new(),
            },
        })
    }

    #[test]
    fn folders_are_short_readable_and_differ() {
        let (long, longer) = ("a".repeat(63), format!("{}b", "a".repeat(62)));
        for (reason, namespace, app, expected) in [
            ("short names stand as they are", "default", "shop", "default.shop"),
            (
                "40 bytes still fit",
                "default",
                &"x".repeat(32),
                &format!("default.{}", "x".repeat(32)),
            ),
        ] {
            assert_eq!(folder_of(namespace, app), expected, "{reason}");
        }
        let folders = [(&long, &long), (&long, &longer), (&longer, &long)].map(|(namespace, app)| {
            let folder = folder_of(namespace, app);
            assert!(folder.len() <= LONGEST_FOLDER && folder.starts_with("aaaa"), "{folder}");
            assert!(!folder.contains('.'), "no short name is spelt so: {folder}");
            folder
        });
        assert!(folders[0] != folders[1] && folders[1] != folders[2] && folders[0] != folders[2]);
    }

    #[tokio::test]
    async fn a_home_too_deep_for_a_socket_is_told_at_once() {
        let (long, begun) = ("n".repeat(63), Instant::now());
        let home = PathBuf::from(format!("/{}", "h".repeat(80)));
        let Err(failure) = supervisors(&home).look(&scope(&long, &long)).await else {
            panic!("no such socket can be")
        };
        assert_eq!(
            (failure.code.as_str(), failure.class),
            ("RuntimeDirectoryUnusable", ErrorClass::Invalid)
        );
        assert!(failure.hint.is_some_and(|hint| hint.contains("PORTOLAN_HOME")));
        assert!(begun.elapsed() < Duration::from_secs(1));
    }

    #[test]
    fn the_longest_names_fit_below_a_usual_home() {
        let long = "n".repeat(63);
        let home = Path::new("/srv/projects/somewhere/of/its/own/.here");
        assert!(supervisors(home).launch(&long, &long).is_ok());
    }

    /// Answers each request with its number, the first one late.
    async fn serve(listener: tokio::net::UnixListener) {
        let mut number = 0;
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (reader, mut writer) = stream.into_split();
            let mut lines = BufReader::new(reader).lines();
            let welcome = json!({"version": 1, "app": "a/b", "pid": 1, "program_version": "0"});
            lines.next_line().await.unwrap();
            writer
                .write_all(format!("{}\n", json!({"ok": welcome})).as_bytes())
                .await
                .unwrap();
            while let Ok(Some(_)) = lines.next_line().await {
                tokio::time::sleep(Duration::from_millis(if number == 0 { 50 } else { 0 })).await;
                let kept = [number.to_string()];
                let answer = json!({"change": 0, "objects": [], "kept_volumes": kept, "kept_job_records": []});
                number += 1;
                if writer
                    .write_all(format!("{}\n", json!({"ok": answer})).as_bytes())
                    .await
                    .is_err()
                {
                    break;
                }
            }
        }
    }

    #[tokio::test]
    async fn a_cancelled_call_leaves_no_answer_to_the_next_one() {
        let home = tempfile::tempdir().unwrap();
        let (platform, scope) = (supervisors(home.path()), scope("default", "shop"));
        let run_dir = platform.launch(&scope.namespace, &scope.app).unwrap().run_dir;
        std::fs::create_dir_all(&run_dir).unwrap();
        let server = tokio::spawn(serve(tokio::net::UnixListener::bind(socket_path(&run_dir)).unwrap()));
        let cancelled = tokio::time::timeout(Duration::from_millis(10), platform.look(&scope)).await;
        assert!(cancelled.is_err(), "the first answer comes late");
        for expected in ["1", "2"] {
            let Found::Running(seen) = platform.look(&scope).await.unwrap() else {
                panic!("it answers")
            };
            assert_eq!(seen.kept_volumes, [expected], "each look has its own answer");
        }
        server.abort();
    }
}
