//! The pods' network namespaces, and how far their links are.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use super::lock;

#[derive(Default)]
pub struct Pods {
    all: Mutex<HashMap<u64, Pod>>,
    changed: Condvar,
}

struct Pod {
    namespace: Arc<OwnedFd>,
    /// `None` while it is made.
    link: Option<Result<(), String>>,
}

impl Pods {
    pub fn is_empty(&self) -> bool {
        lock(&self.all).is_empty()
    }

    /// Without a link yet.
    pub fn insert(&self, pod: u64, namespace: OwnedFd) {
        let namespace = Arc::new(namespace);
        lock(&self.all).insert(pod, Pod { namespace, link: None });
    }

    pub fn link_has_come(&self, pod: u64, link: Result<(), String>) {
        if let Some(pod) = lock(&self.all).get_mut(&pod) {
            pod.link = Some(link);
        }
        self.changed.notify_all();
    }

    /// Waits until that is known.
    pub fn linked(&self, pod: u64) -> Result<(), String> {
        let is_made = |all: &mut HashMap<u64, Pod>| all.get(&pod).is_some_and(|pod| pod.link.is_none());
        let all = self.changed.wait_while(lock(&self.all), is_made);
        let all = all.unwrap_or_else(PoisonError::into_inner);
        let link = all.get(&pod).and_then(|pod| pod.link.clone());
        link.unwrap_or_else(|| Err("its network namespace is gone".into()))
    }

    pub fn namespace(&self, pod: u64) -> Option<Arc<OwnedFd>> {
        lock(&self.all).get(&pod).map(|pod| pod.namespace.clone())
    }

    /// Unless its first link is still being made.
    pub fn to_be_mended(&self, pod: u64) -> Option<Arc<OwnedFd>> {
        let all = lock(&self.all);
        let pod = all.get(&pod).filter(|pod| pod.link.is_some());
        pod.map(|pod| pod.namespace.clone())
    }

    pub fn linked_namespaces(&self) -> Vec<Arc<OwnedFd>> {
        let all = lock(&self.all);
        let linked = all.values().filter(|pod| pod.link == Some(Ok(())));
        linked.map(|pod| pod.namespace.clone()).collect()
    }

    pub fn remove(&self, pod: u64) {
        lock(&self.all).remove(&pod);
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pods() -> Pods {
        let pods = Pods::default();
        pods.insert(1, std::fs::File::open("/dev/null").unwrap().into());
        pods
    }

    #[test]
    fn who_waits_for_a_link_hears_what_came_of_it() {
        for (reason, came) in [("made", Ok(())), ("failed", Err("no room".to_string()))] {
            let pods = pods();
            assert!(pods.to_be_mended(1).is_none(), "its first link is being made");
            assert!(pods.linked_namespaces().is_empty());
            std::thread::scope(|scope| {
                let heard = scope.spawn(|| pods.linked(1));
                pods.link_has_come(1, came.clone());
                assert_eq!(heard.join().unwrap(), came, "{reason}");
            });
            assert!(pods.to_be_mended(1).is_some(), "{reason}");
            assert_eq!(pods.linked_namespaces().len(), usize::from(came.is_ok()), "{reason}");
        }
    }

    #[test]
    fn nobody_waits_for_a_pod_that_is_gone() {
        let pods = pods();
        std::thread::scope(|scope| {
            let heard = scope.spawn(|| pods.linked(1));
            pods.remove(1);
            assert!(heard.join().unwrap().is_err());
        });
    }
}
