//! Debian's `docker-registry` on loopback.

// Each test uses a part of it.
#![allow(dead_code)]

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use portolan_image::ImageReference;

/// A running registry that keeps its data in a temporary directory.
pub struct Registry {
    process: Child,
    pub address: String,
    _temp: tempfile::TempDir,
    log: Arc<Mutex<Vec<String>>>,
}

impl Registry {
    /// `None`, with the line that says so, where it is not installed.
    pub fn start(test: &str) -> Option<Self> {
        let temp = tempfile::tempdir().unwrap();
        let config = temp.path().join("config.yml");
        let data = temp.path().join("data");
        let text = format!(
            "version: 0.1\nlog: {{level: info, formatter: json}}\nstorage: {{filesystem: {{rootdirectory: {}}}, \
             delete: {{enabled: true}}}}\nhttp: {{addr: '127.0.0.1:0'}}\n",
            data.display()
        );
        fs::write(&config, text).unwrap();
        let spawned = Command::new("docker-registry")
            .arg("serve")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        let Ok(mut process) = spawned else {
            eprintln!("SKIP {test}: docker-registry is not installed");
            return None;
        };
        let mut log = BufReader::new(process.stderr.take().unwrap()).lines();
        let address = loop {
            let line = log.next().expect("the registry says where it listens").unwrap();
            if let Some((_, rest)) = line.split_once("listening on ") {
                break rest.split(['"', ' ', ',']).next().unwrap().to_owned();
            }
        };
        // The pipe must not fill up.
        let kept = Arc::new(Mutex::new(Vec::new()));
        let keep = kept.clone();
        std::thread::spawn(move || {
            log.map_while(Result::ok)
                .for_each(|line| keep.lock().unwrap().push(line))
        });
        Some(Self {
            process,
            address,
            _temp: temp,
            log: kept,
        })
    }

    pub fn reference(&self, rest: &str) -> ImageReference {
        ImageReference::parse(&format!("{}/{rest}", self.address)).unwrap()
    }

    /// Blobs that were sent to it, once its log says no more.
    pub fn uploads(&self) -> usize {
        let lines = || self.log.lock().unwrap().len();
        let (mut before, deadline) = (0, Instant::now() + Duration::from_secs(10));
        while lines() != before && Instant::now() < deadline {
            before = lines();
            std::thread::sleep(Duration::from_millis(200));
        }
        let log = self.log.lock().unwrap();
        let sent = log.iter().filter(|line| {
            let words = ["response completed", "\"PUT\"", "/blobs/uploads/"];
            words.iter().all(|word| line.contains(word))
        });
        sent.count()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
