//! What the program is told: one value, as words of a command line and back.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use crate::balance::HostSockets;
use crate::storage::Paths;

/// What both processes of an app are told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `NAMESPACE/NAME`.
    pub app: String,
    /// The app, and what tells it from one of the same name that is kept in other folders of this machine: names of
    /// cgroups and of the network begin with it.
    pub instance: String,
    pub paths: Paths,
    /// The program `portolan-runtime`.
    pub runtime: PathBuf,
    pub host: HostSockets,
}

impl Settings {
    pub fn new(app: String, paths: Paths, runtime: PathBuf) -> Settings {
        let instance = crate::cgroups::instance(&app, &paths.run);
        Settings {
            app,
            instance,
            paths,
            runtime,
            host: HostSockets::Own,
        }
    }

    /// The name of the app's bridge, whether or not there is one now.
    pub fn bridge(&self) -> String {
        crate::network::bridge_name(&self.instance)
    }

    /// The words from which `parse` makes this value.
    pub fn arguments(&self) -> Vec<OsString> {
        let mut pairs: Vec<(&str, OsString)> = vec![
            ("--app", self.app.clone().into()),
            ("--run-dir", self.paths.run.clone().into()),
            ("--state-dir", self.paths.state.clone().into()),
            ("--data-dir", self.paths.data.clone().into()),
            ("--runtime", self.runtime.clone().into()),
        ];
        if let HostSockets::Helper(path) = &self.host {
            pairs.push(("--port-helper", path.clone().into()));
        }
        let words = pairs.into_iter().flat_map(|(name, value)| [name.into(), value]);
        words.collect()
    }

    /// `None` if a word is missing, unknown or no absolute path.
    pub fn parse(arguments: &[OsString]) -> Option<Settings> {
        let mut values = BTreeMap::new();
        for pair in arguments.chunks(2) {
            let [name, value] = pair else { return None };
            values.insert(name.to_str()?, value);
        }
        let mut take = |name| values.remove(name);
        let app = take("--app")?.to_str()?.to_string();
        let mut folder = |name| take(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let paths = Paths {
            run: folder("--run-dir")?,
            state: folder("--state-dir")?,
            data: folder("--data-dir")?,
        };
        let runtime = folder("--runtime")?;
        let host = folder("--port-helper").map_or(HostSockets::Own, HostSockets::Helper);
        let settings = Settings::new(app, paths, runtime);
        values.is_empty().then_some(Settings { host, ..settings })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_back() {
        let paths = Paths {
            run: "/run/app".into(),
            state: "/state".into(),
            data: "/data".into(),
        };
        let mut settings = Settings::new("default/shop".into(), paths, "/bin/runtime".into());
        for host in [HostSockets::Own, HostSockets::Helper("/run/ports.sock".into())] {
            settings.host = host;
            let parsed = Settings::parse(&settings.arguments()).unwrap();
            assert_eq!(parsed.arguments(), settings.arguments());
            assert_eq!(
                (parsed.host, parsed.instance),
                (settings.host.clone(), settings.instance.clone())
            );
        }
        let words = |text: &str| text.split(' ').map(OsString::from).collect::<Vec<_>>();
        let whole = "--app a/b --run-dir /r --state-dir /s --data-dir /d --runtime /x";
        for (reason, text) in [
            ("a word is missing", "--app a/b".to_string()),
            ("a value is missing", format!("{whole} --port-helper")),
            ("nobody knows it", format!("{whole} --colour red")),
            ("a path depends on where we stand", whole.replace("/r", "r")),
        ] {
            assert!(Settings::parse(&words(&text)).is_none(), "{reason}");
        }
    }
}
