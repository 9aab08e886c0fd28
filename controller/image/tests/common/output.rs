//! What the commands of a build print, kept for the test to look at.

use std::sync::Mutex;

use portolan_image::Progress;
use portolan_image::build::{BuildEvent, BuildProgress};

#[derive(Default)]
pub struct Output(pub Mutex<Vec<String>>);

impl Progress for Output {
    fn started(&self, _unit: &str, _total: Option<u64>) {}
    fn advanced(&self, _unit: &str, _bytes: u64) {}
    fn finished(&self, _unit: &str) {}
}

impl BuildProgress for Output {
    fn event(&self, event: BuildEvent<'_>) {
        if let BuildEvent::Output(_, line) = event {
            self.0.lock().unwrap().push(line.to_owned());
        }
    }
}
