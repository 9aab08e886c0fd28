//! Names, tags and ARNs: what stands for what, and how it is known again.
//!
//! A name is a function of namespace, app, Target and what it stands for; whose a thing is stands in its tags alone.

use portolan_core::manifest::EcsTarget;
use portolan_core::name::{NameGrammar, native_name};
use portolan_core::plan::Scope;

use crate::requests::{Late, Tags};

/// Of everything that has tags.
pub mod tag {
    pub const OWNER: &str = "portolan.dev/owner";
    pub const APP: &str = "portolan.dev/app";
    pub const NAMESPACE: &str = "portolan.dev/namespace";
    pub const TARGET: &str = "portolan.dev/target";
    pub const SOURCE: &str = "portolan.dev/source";
    pub const REVISION: &str = "portolan.dev/revision";
    /// What it stands for in the manifest.
    pub const NAME: &str = "portolan.dev/name";
    pub const COMPONENT: &str = "portolan.dev/component";
    /// On a service: how a rollout is meant, which is another one where two tasks may not stand beside each other.
    pub const STRATEGY: &str = "portolan.dev/rollout-strategy";
    /// On a service: how long a rollout may take, for which ECS has no field.
    pub const DEADLINE: &str = "portolan.dev/rollout-deadline";
    /// On a job's run: how often it is tried, and for how long, for which ECS has no fields.
    pub const RETRIES: &str = "portolan.dev/retries";
    pub const TIMEOUT: &str = "portolan.dev/timeout";
}

/// Target groups have the shortest names.
const TARGET_GROUP: NameGrammar = NameGrammar {
    max_length: 32,
    ..NameGrammar::LABEL
};

/// The names of one app's things.
#[derive(Clone, Copy)]
pub struct Names<'a>(pub &'a Scope);

impl Names<'_> {
    /// Of what belongs to the whole app.
    pub fn app(self) -> String {
        let scope = self.0;
        native_name(&[&scope.app, &scope.target, &scope.namespace], NameGrammar::LABEL)
    }

    /// Of what stands for a service, a job or a volume.
    pub fn of(self, name: &str) -> String {
        let scope = self.0;
        native_name(&[&scope.app, name, &scope.target, &scope.namespace], NameGrammar::LABEL)
    }

    /// Of what belongs to one, and is told apart from it by a word.
    pub fn beside(self, name: &str, word: &str) -> String {
        let scope = self.0;
        let parts = [&scope.app, name, word, &scope.target, &scope.namespace];
        native_name(&parts, NameGrammar::LABEL)
    }

    /// Of the target group behind a port.
    pub fn target_group(self, name: &str, port: u16, color: &str) -> String {
        let scope = self.0;
        let port = port.to_string();
        let parts = [&scope.app, name, &port, color, &scope.target, &scope.namespace];
        native_name(&parts, TARGET_GROUP)
    }

    pub fn log_group(self, name: &str) -> String {
        format!("/portolan/{}", self.of(name))
    }

    pub fn tags(self, name: &str, component: &str) -> Tags {
        let scope = self.0;
        let pairs = [
            (tag::OWNER, scope.owner.as_str()),
            (tag::APP, &scope.app),
            (tag::NAMESPACE, &scope.namespace),
            (tag::TARGET, &scope.target),
            (tag::NAME, name),
            (tag::COMPONENT, component),
        ];
        pairs.map(|(key, value)| (key.to_string(), Late::from(value))).into()
    }
}

/// ARNs of one account and region.
#[derive(Clone, Copy)]
pub struct Arns<'a>(pub &'a EcsTarget);

impl Arns<'_> {
    /// China and the American government have Amazons of their own.
    fn partition(self) -> &'static str {
        match self.0.region.split('-').collect::<Vec<_>>().as_slice() {
            ["cn", ..] => "aws-cn",
            ["us", "gov", ..] => "aws-us-gov",
            _ => "aws",
        }
    }

    fn regional(self, service: &str, resource: &str) -> String {
        let (region, account) = (&self.0.region, &self.0.account);
        format!("arn:{}:{service}:{region}:{account}:{resource}", self.partition())
    }

    pub fn role(self, name: &str) -> String {
        format!("arn:{}:iam::{}:role/{name}", self.partition(), self.0.account)
    }

    pub fn cluster(self) -> String {
        self.regional("ecs", &format!("cluster/{}", self.0.cluster))
    }

    /// Every revision of it.
    pub fn task_definitions(self, family: &str) -> String {
        self.regional("ecs", &format!("task-definition/{family}:*"))
    }

    /// Every stream of it.
    pub fn log_streams(self, group: &str) -> String {
        self.regional("logs", &format!("log-group:{group}:*"))
    }

    /// Without the six characters that Secrets Manager puts behind a name.
    pub fn secret(self, name: &str) -> String {
        self.regional("secretsmanager", &format!("secret:{name}"))
    }

    pub fn parameter(self, name: &str) -> String {
        self.regional("ssm", &format!("parameter/{name}"))
    }

    pub fn repository(self, region: &str, account: &str, name: &str) -> String {
        format!("arn:{}:ecr:{region}:{account}:repository/{name}", self.partition())
    }

    pub fn file_system(self, id: &str) -> String {
        self.regional("elasticfilesystem", &format!("file-system/{id}"))
    }
}
