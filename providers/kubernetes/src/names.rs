//! Names, labels and annotations: which object stands for what, and how it is known again.
//!
//! A name is a function of namespace, app, Target and what it stands for; whose an object is stands in its labels alone.

use std::collections::BTreeMap;

use portolan_core::desired::OtherApp;
use portolan_core::name::{NameGrammar, hash_of, native_name};
use portolan_core::plan::Scope;

/// Of every object that bears our tags.
pub mod label {
    pub const OWNER: &str = "portolan.dev/owner";
    pub const APP: &str = "portolan.dev/app";
    /// Of the app: the KubeNamespace may be one for all of them.
    pub const NAMESPACE: &str = "portolan.dev/namespace";
    pub const TARGET: &str = "portolan.dev/target";
    pub const GENERATION: &str = "portolan.dev/generation";
    pub const REVISION: &str = "portolan.dev/revision";
    pub const NAME: &str = "app.kubernetes.io/name";
    pub const INSTANCE: &str = "app.kubernetes.io/instance";
    pub const COMPONENT: &str = "app.kubernetes.io/component";
    pub const PART_OF: &str = "app.kubernetes.io/part-of";
    pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
}

/// What no label can hold.
pub mod annotation {
    /// Who wrote the intent: a source's name need not be in a label's grammar.
    pub const SOURCE: &str = "portolan.dev/source";
    /// A hash of what was rendered, so that what a manifest no longer says is seen to be there still.
    pub const APPLIED: &str = "portolan.dev/applied";
    /// On a claim that an earlier delete has kept.
    pub const RETAINED: &str = "portolan.dev/retained";
    /// On the app's service account: what is remembered of a generation that is held, in JSON.
    pub const HELD: &str = "portolan.dev/held";
    /// On a pod: which `retry` it is of. Another one makes other pods, of the same revision.
    pub const RETRIED: &str = "portolan.dev/retried";
    /// On a workload: the rollout's strategy and deadline, where its kind has no field for them. On what leads to the pods of
    /// one: that a rollout says which.
    pub const STRATEGY: &str = "portolan.dev/rollout-strategy";
    pub const DEADLINE: &str = "portolan.dev/rollout-deadline";
    /// On a Deployment whose rollouts are walked: its steps, in JSON, and how connections are shared out.
    pub const STEPS: &str = "portolan.dev/rollout-steps";
    pub const SHARES: &str = "portolan.dev/rollout-shares";
    /// So: how far its rollout has come. As it is rendered it says that it has arrived.
    pub const AT: &str = "portolan.dev/rollout-at";
    /// On the Deployment of a new revision: whose place it takes, and since when it stands at its step.
    pub const BESIDE: &str = "portolan.dev/rollout-beside";
    pub const SINCE: &str = "portolan.dev/rollout-since";
    /// So: up to which step it was promoted, and in which revision.
    pub const PROMOTED: &str = "portolan.dev/promoted";
    /// On a Deployment whose rollouts are walked: the revisions that have served everybody before.
    pub const SERVED: &str = "portolan.dev/served";
    /// On a workload that something scales: from how many to how many. Every number between is as it shall be.
    pub const REPLICAS: &str = "portolan.dev/replicas";
    /// Who makes the certificate of an Ingress, in the words of cert-manager.
    pub const ISSUER: &str = "cert-manager.io/cluster-issuer";
}

/// Who writes annotations beside what is applied: an apply takes nothing of it away.
pub const NOTES: &str = "portolan-notes";

/// Who writes, in the words of server-side apply.
pub const MANAGER: &str = "portolan";

/// Eleven less than a label holds: the controllers append as much to the name of a StatefulSet and of a CronJob, and put it
/// into one. It begins with a letter, as RFC 1035 has it for the names of KubeServices.
const GRAMMAR: NameGrammar = NameGrammar {
    max_length: 52,
    ..NameGrammar::LABEL
};

/// The names of one app's objects.
#[derive(Clone, Copy)]
pub struct Names<'a>(pub &'a Scope);

impl Names<'_> {
    /// Of the one that belongs to the whole app.
    pub fn app(self) -> String {
        let scope = self.0;
        native_name(&[&scope.app, &scope.target, &scope.namespace], GRAMMAR)
    }

    /// Of what stands for a service, a job or a volume.
    pub fn of(self, name: &str) -> String {
        let scope = self.0;
        native_name(&[&scope.app, name, &scope.target, &scope.namespace], GRAMMAR)
    }

    /// Of what belongs to one, and is told apart from it by a word.
    pub fn beside(self, name: &str, word: &str) -> String {
        let scope = self.0;
        native_name(&[&scope.app, name, word, &scope.target, &scope.namespace], GRAMMAR)
    }

    /// Of another app's service, on the same Target.
    pub fn of_another(self, other: &OtherApp, service: &str) -> String {
        native_name(&[&other.app, service, &self.0.target, &other.namespace], GRAMMAR)
    }

    /// What the pods of a workload are chosen by.
    pub fn selector(self, name: &str) -> BTreeMap<String, String> {
        self.selector_of(&self.of(name))
    }

    /// So, by the native name of the workload.
    pub fn selector_of(self, workload: &str) -> BTreeMap<String, String> {
        labels([(label::OWNER, self.0.owner.as_str()), (label::INSTANCE, workload)])
    }

    /// What the pods of a service are chosen by, whichever revision they are of, where two stand beside each other.
    pub fn selector_of_service(self, name: &str) -> BTreeMap<String, String> {
        labels([
            (label::OWNER, self.0.owner.as_str()),
            (label::NAME, name),
            (label::COMPONENT, "service"),
        ])
    }

    /// Of the KubeService by which the world reaches a service.
    pub fn public(self, name: &str) -> String {
        self.beside(name, "public")
    }

    /// Of the Deployment of a service's new revision, while its rollout is walked.
    pub fn next(self, name: &str) -> String {
        self.beside(name, "next")
    }

    /// What the pods of another app are chosen by, on the same Target.
    pub fn selector_of_another(self, other: &OtherApp) -> BTreeMap<String, String> {
        labels([
            (label::APP, &other.app),
            (label::NAMESPACE, &other.namespace),
            (label::TARGET, &self.0.target),
        ])
    }

    /// What the pods of the app itself are chosen by.
    pub fn selector_of_app(self) -> BTreeMap<String, String> {
        labels([(label::OWNER, self.0.owner.as_str())])
    }

    /// Of an object, as far as they stay the same from one generation to the next.
    pub fn labels(self, name: &str, component: &str) -> BTreeMap<String, String> {
        labels([
            (label::APP, &self.0.app),
            (label::NAMESPACE, &self.0.namespace),
            (label::TARGET, &self.0.target),
            (label::NAME, name),
            (label::INSTANCE, &self.of(name)),
            (label::COMPONENT, component),
            (label::PART_OF, &self.0.app),
            (label::MANAGED_BY, MANAGER),
        ])
    }
}

/// Which objects are an app's: selection is by owner, whatever they are called.
pub fn selector_of(scope: &Scope) -> String {
    format!("{}={}", label::OWNER, scope.owner)
}

/// Twenty digits: enough to tell two bodies apart.
pub fn hash_of_text(word: &str, text: &str) -> String {
    hash_of(&[word, text])[..20].to_string()
}

fn labels<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs.map(|(key, value)| (key.to_string(), value.to_string())).into()
}
