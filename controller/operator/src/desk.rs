//! All Apps and Targets that there are, and what follows from each thing that is heard: what the engine keeps, and what is
//! written to the objects. It decides and does nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kube::api::DynamicObject;
use portolan_engine::controller::Reassigned;
use portolan_engine::journal::AppKey;
use portolan_engine::machine::Timestamp;
use serde_json::Value;

use crate::app::{Asked, KeptApp, Outdated, Write};
use crate::hearing::Heard;
use crate::intent;
use crate::object::{AppName, Head, ObjectName, PROMOTE};
use crate::operator::Harbours;
use crate::slot::Harbour;
use crate::status;
use crate::told::News;
use crate::watching::Seen;
use crate::writing::{Change, Written};

pub struct Desk {
    harbours: Arc<dyn Harbours>,
    apps: BTreeMap<AppName, KeptApp>,
    targets: BTreeMap<String, Harbour>,
    /// Of each Target.
    objects: BTreeMap<String, TargetObject>,
    listing_apps: Listing<AppName>,
    listing_targets: Listing<String>,
    /// Apps of which something has changed.
    touched: BTreeSet<AppName>,
    touched_targets: BTreeSet<String>,
    reassigned: Reassigned,
    news: Vec<Told>,
}

/// A Target's object: to tell whether it has changed, and what its status says.
struct TargetObject {
    head: Head,
    spec: Value,
    is_busy: bool,
}

/// Something to be told of an App.
pub struct Told {
    pub name: AppName,
    pub target: String,
    pub news: News,
}

/// What has been listed since the list began; none outside of one.
struct Listing<N> {
    found: Option<BTreeSet<N>>,
    is_whole: bool,
}

impl<N: Ord> Listing<N> {
    fn new() -> Self {
        Self {
            found: None,
            is_whole: false,
        }
    }

    fn begin(&mut self) {
        self.found = Some(BTreeSet::new());
    }

    fn take(&mut self, name: N) {
        if let Some(found) = &mut self.found {
            found.insert(name);
        }
    }

    fn end(&mut self) -> BTreeSet<N> {
        self.is_whole = true;
        self.found.take().unwrap_or_default()
    }
}

/// What is to be done about what was heard.
#[derive(Default)]
pub struct Due {
    pub reassigned: Reassigned,
    pub orders: Vec<(AppName, Asked)>,
    pub writes: Vec<Change>,
    pub news: Vec<Told>,
}

impl Desk {
    pub fn new(harbours: Arc<dyn Harbours>) -> Self {
        Self {
            harbours,
            apps: BTreeMap::new(),
            targets: BTreeMap::new(),
            objects: BTreeMap::new(),
            listing_apps: Listing::new(),
            listing_targets: Listing::new(),
            touched: BTreeSet::new(),
            touched_targets: BTreeSet::new(),
            reassigned: Reassigned::new(),
            news: Vec::new(),
        }
    }

    pub fn app(&self, name: &AppName) -> Option<&KeptApp> {
        self.apps.get(name)
    }

    pub fn see_app(&mut self, seen: Seen) {
        match seen {
            Seen::Begin => self.listing_apps.begin(),
            Seen::Listed(object) => {
                self.listing_apps.take(AppName::of(&object));
                self.take_app(*object);
            }
            Seen::Changed(object) => self.take_app(*object),
            Seen::Gone(object) => self.drop_app(&AppName::of(&object)),
            Seen::End => {
                let found = self.listing_apps.end();
                let gone: Vec<AppName> = self.apps.keys().filter(|name| !found.contains(name)).cloned().collect();
                gone.iter().for_each(|name| self.drop_app(name));
            }
        }
    }

    pub fn see_target(&mut self, seen: Seen) {
        match seen {
            Seen::Begin => self.listing_targets.begin(),
            Seen::Listed(object) => {
                self.listing_targets.take(name_of(&object));
                self.take_target(*object);
            }
            Seen::Changed(object) => self.take_target(*object),
            Seen::Gone(object) => self.drop_target(&name_of(&object)),
            Seen::End => {
                let found = self.listing_targets.end();
                let gone: Vec<String> = self
                    .objects
                    .keys()
                    .filter(|name| !found.contains(*name))
                    .cloned()
                    .collect();
                gone.iter().for_each(|name| self.drop_target(name));
            }
        }
    }

    pub fn hear(&mut self, heard: Heard) {
        let (key, told, work) = match heard {
            Heard::Begun { key, told } => (key, told, None),
            Heard::Ended { key, work, told } => (key, told, Some(work)),
            Heard::News { key, news } => {
                let (name, target) = parts(key);
                return self.news.push(Told { name, target, news });
            }
        };
        let (name, target) = parts(key);
        let Some(app) = self.apps.get_mut(&name) else { return };
        let news = told
            .news
            .clone()
            .filter(|news| is_news(&app.head.status(), &target, news));
        match work {
            None => app.begun(&target, *told),
            Some(work) if !app.ended(&target, &work, *told) => return,
            Some(_) => {}
        }
        self.news.extend(news.map(|news| Told {
            name: name.clone(),
            target,
            news,
        }));
        self.touched.insert(name);
    }

    /// Its answer holds for the object that the write was for, and for none that has come or gone since: only a watch brings
    /// objects and takes them away.
    pub fn written(&mut self, written: Written) {
        match written.name {
            ObjectName::App(name) => {
                let app = self.apps.get_mut(&name);
                let Some(app) = app.filter(|app| app.head.uid == written.uid) else {
                    return;
                };
                app.is_busy = false;
                if let Some(object) = written.object {
                    app.see(*object);
                }
                self.touched.insert(name);
            }
            ObjectName::Target(name) => {
                let target = self.objects.get_mut(&name);
                let Some(target) = target.filter(|target| target.head.uid == written.uid) else {
                    return;
                };
                target.is_busy = false;
                self.touched_targets.insert(name);
                written.object.into_iter().for_each(|object| self.take_target(*object));
            }
        }
    }

    /// What somebody asked for was handed on.
    pub fn obeyed(&mut self, name: &AppName, annotation: &'static str, said: String) {
        if let Some(app) = self.apps.get_mut(name) {
            app.obeyed(annotation, said);
        }
    }

    /// What follows from all that was heard since this was last asked; nothing before all objects are known.
    pub fn due(&mut self, now: &str, at: Timestamp) -> Due {
        if !self.listing_apps.is_whole || !self.listing_targets.is_whole {
            return Due::default();
        }
        let mut due = Due {
            news: std::mem::take(&mut self.news),
            ..Due::default()
        };
        for name in std::mem::take(&mut self.touched) {
            let Some(app) = self.apps.get_mut(&name) else { continue };
            self.reassigned.extend(app.settle(&self.targets));
            due.orders
                .extend(app.asked(at).into_iter().map(|asked| (name.clone(), asked)));
            if let Some(Outdated { said, target, news }) = app.outdated_promotion() {
                app.obeyed(PROMOTE, said);
                let name = name.clone();
                due.news.push(Told { name, target, news });
            }
            if let Some(write) = app.write(now) {
                app.is_busy = true;
                due.writes.push(Change::of(ObjectName::App(name), &app.head, write));
            }
        }
        due.writes.extend(self.target_writes(now));
        due.reassigned = std::mem::take(&mut self.reassigned);
        due
    }

    fn target_writes(&mut self, now: &str) -> Vec<Change> {
        let mut writes = Vec::new();
        for name in std::mem::take(&mut self.touched_targets) {
            let object = self.objects.get_mut(&name);
            let Some(object) = object.filter(|object| !object.is_busy) else {
                continue;
            };
            let refusals = self.targets.get(&name).and_then(|harbour| harbour.as_ref().err());
            let head = &object.head;
            let before = head.status();
            let status = status::of_target(refusals.map(Vec::as_slice), head.generation, &before, now);
            if status != before {
                writes.push(Change::of(ObjectName::Target(name), head, Write::Status(status)));
                object.is_busy = true;
            }
        }
        writes
    }

    fn take_app(&mut self, object: DynamicObject) {
        let name = AppName::of(&object);
        let is_news = match self.apps.get_mut(&name) {
            Some(known) => known.see(object),
            None if object.metadata.uid.is_none() => false,
            None => self.apps.insert(name.clone(), KeptApp::new(object)).is_none(),
        };
        if is_news {
            self.touched.insert(name);
        }
    }

    fn drop_app(&mut self, name: &AppName) {
        let app = self.apps.remove(name);
        self.reassigned.extend(app.iter().flat_map(KeptApp::let_go));
    }

    fn take_target(&mut self, mut object: DynamicObject) {
        let name = name_of(&object);
        let (head, spec) = (Head::of(&mut object), object.data["spec"].take());
        let known = self.objects.get_mut(&name);
        if known.as_ref().is_some_and(|known| head.is_older_than(&known.head)) {
            return;
        }
        self.touched_targets.insert(name.clone());
        let is_busy = known
            .as_ref()
            .is_some_and(|known| known.is_busy && known.head.uid == head.uid);
        if let Some(known) = known.filter(|known| known.spec == spec) {
            (known.head, known.is_busy) = (head, is_busy);
            return;
        }
        self.targets.insert(name.clone(), self.harbour(&name, &spec));
        self.touch_those_at(&name);
        self.objects.insert(name, TargetObject { head, spec, is_busy });
    }

    fn drop_target(&mut self, name: &str) {
        self.targets.remove(name);
        self.objects.remove(name);
        self.touch_those_at(name);
    }

    fn harbour(&self, name: &str, spec: &Value) -> Harbour {
        let target = intent::target(name, spec)?;
        let provider = self.harbours.provider(&target);
        let provider = provider.map_err(|diagnostic| vec![intent::refusal(&diagnostic)])?;
        Ok((Arc::new(target), provider))
    }

    fn touch_those_at(&mut self, target: &str) {
        let apps = self.apps.iter().filter(|(_, app)| app.goes_to(target));
        self.touched.extend(apps.map(|(name, _)| name.clone()));
    }
}

/// Whether the status does not say so already: what went on before this process is told once.
fn is_news(status: &Value, target: &str, news: &News) -> bool {
    let entry = &status["targets"][target];
    !news.is_warning || entry["reason"] != news.reason.as_str() || entry["message"] != news.note.as_str()
}

fn name_of(object: &DynamicObject) -> String {
    object.metadata.name.clone().unwrap_or_default()
}

fn parts(key: AppKey) -> (AppName, String) {
    let name = AppName {
        namespace: key.namespace,
        name: key.app,
    };
    (name, key.target)
}

#[cfg(test)]
mod tests;
