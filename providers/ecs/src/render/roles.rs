//! Roles: what ECS, a task, the scheduler and a load balancer's shifting may do, as little as the manifest needs. A role that the
//! Target names is taken as it is, and none is made.

use std::collections::{BTreeMap, BTreeSet};

use portolan_core::desired::DesiredContainer;
use portolan_core::manifest::{EcsSecretStore, SecretReference};
use portolan_core::resource::ResourceId;
use serde::Serialize;

use super::container::repository;
use super::task::{Defined, Task};
use super::{Part, Renderer, exists};
use crate::kinds::{ROLE, ROLE_POLICY};
use crate::requests::around::{CreateRole, Policy, PutRolePolicy, Statement};
use crate::requests::capital_tags;

/// A role, and what has to be there before it can be used.
pub(super) struct Role {
    pub arn: Option<String>,
    pub resource: Option<ResourceId>,
}

impl Role {
    fn none() -> Self {
        Self {
            arn: None,
            resource: None,
        }
    }

    fn given(arn: &str) -> Self {
        Self {
            arn: Some(arn.to_string()),
            resource: None,
        }
    }
}

/// Who has a role, and what for.
struct Purpose {
    word: &'static str,
    principal: &'static str,
    description: &'static str,
}

const EXECUTION: Purpose = Purpose {
    word: "execution",
    principal: "ecs-tasks.amazonaws.com",
    description: "ECS pulls images, reads secrets and writes logs by it",
};
const TASK: Purpose = Purpose {
    word: "task",
    principal: "ecs-tasks.amazonaws.com",
    description: "The containers have it",
};
const SCHEDULER: Purpose = Purpose {
    word: "scheduler",
    principal: "scheduler.amazonaws.com",
    description: "EventBridge Scheduler starts the job by it",
};
const SHIFTING: Purpose = Purpose {
    word: "shifting",
    principal: "ecs.amazonaws.com",
    description: "ECS shifts connections at a load balancer by it",
};

impl Renderer<'_> {
    pub(super) fn execution_role(&mut self, task: &Task<'_>) -> Role {
        if let Some(given) = &self.target.roles.execution {
            return Role::given(given);
        }
        let group = self.names.log_group(task.part.name);
        let mut statements = vec![allow(
            &["logs:CreateLogStream", "logs:PutLogEvents"],
            [self.arns.log_streams(&group)],
        )];
        statements.extend(self.pulls(task));
        statements.extend(self.reads_secrets(task));
        self.role(&EXECUTION, task.part, statements)
    }

    /// Of registries of Amazon's; others ask nobody's role.
    fn pulls(&self, task: &Task<'_>) -> Vec<Statement> {
        let images = task.containers().map(|one| one.image.reference.to_string());
        let repositories: BTreeSet<String> = images.filter_map(|image| self.repository_of(&image)).collect();
        if repositories.is_empty() {
            return Vec::new();
        }
        vec![
            allow(&["ecr:GetAuthorizationToken"], ["*".to_string()]),
            allow(
                &[
                    "ecr:BatchCheckLayerAvailability",
                    "ecr:BatchGetImage",
                    "ecr:GetDownloadUrlForLayer",
                ],
                repositories,
            ),
        ]
    }

    /// `123456789012.dkr.ecr.eu-west-1.amazonaws.com/shop/web:1`
    fn repository_of(&self, image: &str) -> Option<String> {
        let (registry, name) = repository(image).split_once('/')?;
        match registry.split('.').collect::<Vec<_>>().as_slice() {
            [account, "dkr", "ecr", region, "amazonaws", "com", ..] => {
                Some(self.arns.repository(region, account, name))
            }
            _ => None,
        }
    }

    fn reads_secrets(&self, task: &Task<'_>) -> Option<Statement> {
        let secrets: BTreeSet<&SecretReference> = task.containers().flat_map(secrets_of).collect();
        let store = self.target.secret_store;
        let arn = |secret: &&SecretReference| match store {
            EcsSecretStore::SecretsManager => format!("{}-??????", self.arns.secret(&secret.name)),
            EcsSecretStore::ParameterStore => self.arns.parameter(&secret.to_string()),
        };
        let action = match store {
            EcsSecretStore::SecretsManager => "secretsmanager:GetSecretValue",
            EcsSecretStore::ParameterStore => "ssm:GetParameters",
        };
        let arns: BTreeSet<String> = secrets.iter().map(arn).collect();
        (!arns.is_empty()).then(|| allow(&[action], arns))
    }

    /// What is done in the containers' name: a command inside of them, and the files of their volumes.
    pub(super) fn task_role(&mut self, task: &Task<'_>) -> Role {
        if let Some(given) = &self.target.roles.task {
            return Role::given(given);
        }
        let mut statements = Vec::new();
        if self.target.execute_command {
            let actions = [
                "ssmmessages:CreateControlChannel",
                "ssmmessages:CreateDataChannel",
                "ssmmessages:OpenControlChannel",
                "ssmmessages:OpenDataChannel",
            ];
            statements.push(allow(&actions, ["*".to_string()]));
        }
        statements.extend(self.mounts(task));
        self.role(&TASK, task.part, statements)
    }

    fn mounts(&self, task: &Task<'_>) -> Option<Statement> {
        let file_system = self.target.file_system.as_ref()?;
        let mut mounts = task.containers().flat_map(|one| &one.mounts).peekable();
        mounts.peek()?;
        let mut actions = vec!["elasticfilesystem:ClientMount"];
        if mounts.any(|mount| !mount.read_only) {
            actions.push("elasticfilesystem:ClientWrite");
        }
        Some(allow(&actions, [self.arns.file_system(file_system)]))
    }

    pub(super) fn scheduler_role(&mut self, part: Part<'_>, defined: &Defined) -> Role {
        if let Some(given) = &self.target.roles.scheduler {
            return Role::given(given);
        }
        let mut run = allow(&["ecs:RunTask"], [self.arns.task_definitions(&defined.request.family)]);
        run.condition = condition("ArnEquals", "ecs:cluster", self.arns.cluster());
        let roles = [&defined.request.execution_role_arn, &defined.request.task_role_arn];
        let roles: Vec<String> = roles.into_iter().flatten().cloned().collect();
        let mut statements = vec![run];
        if !roles.is_empty() {
            statements.push(allow(&["iam:PassRole"], roles));
        }
        self.role(&SCHEDULER, part, statements)
    }

    pub(super) fn shifting_role(&mut self, part: Part<'_>) -> Role {
        if let Some(given) = &self.target.roles.load_balancer {
            return Role::given(given);
        }
        let reads = [
            "elasticloadbalancing:DescribeListeners",
            "elasticloadbalancing:DescribeRules",
            "elasticloadbalancing:DescribeTargetGroups",
            "elasticloadbalancing:DescribeTargetHealth",
        ];
        let writes = [
            "elasticloadbalancing:DeregisterTargets",
            "elasticloadbalancing:ModifyListener",
            "elasticloadbalancing:ModifyRule",
            "elasticloadbalancing:RegisterTargets",
        ];
        // What it writes to has identifiers that are known later; the role is used by ECS alone.
        let statements = vec![allow(&reads, ["*".to_string()]), allow(&writes, ["*".to_string()])];
        self.role(&SHIFTING, part, statements)
    }

    fn role(&mut self, purpose: &Purpose, part: Part<'_>, statements: Vec<Statement>) -> Role {
        if statements.is_empty() {
            return Role::none();
        }
        let name = self.names.beside(part.name, purpose.word);
        let request = CreateRole {
            role_name: name.clone(),
            assume_role_policy_document: document(vec![self.trust(purpose.principal)]),
            description: purpose.description.to_string(),
            permissions_boundary: self.target.permissions_boundary.clone(),
            tags: capital_tags(&self.names.tags(part.name, part.component)),
        };
        let role = self.resource(&ROLE, name.clone(), part, &request);
        let role = self.add(role);
        let request = PutRolePolicy {
            role_name: name.clone(),
            policy_name: "portolan".to_string(),
            policy_document: document(statements),
        };
        let mut policy = self.resource(&ROLE_POLICY, name.clone(), part, &request);
        policy.edges.push(exists(role));
        Role {
            arn: Some(self.arns.role(&name)),
            resource: Some(self.add(policy)),
        }
    }

    /// That service alone, and for this account's things alone.
    fn trust(&self, principal: &str) -> Statement {
        Statement {
            principal: Some(BTreeMap::from([("Service".to_string(), principal.to_string())])),
            condition: condition("StringEquals", "aws:SourceAccount", self.target.account.clone()),
            ..allow(&["sts:AssumeRole"], [])
        }
    }
}

pub(super) fn secrets_of(container: &DesiredContainer) -> impl Iterator<Item = &SecretReference> {
    container.env.values().filter_map(|value| value.secret())
}

fn allow(actions: &[&str], resources: impl IntoIterator<Item = String>) -> Statement {
    Statement {
        effect: "Allow".to_string(),
        principal: None,
        action: actions.iter().map(|action| action.to_string()).collect(),
        resource: resources.into_iter().collect(),
        condition: BTreeMap::new(),
    }
}

fn condition(operator: &str, key: &str, value: String) -> BTreeMap<String, BTreeMap<String, String>> {
    BTreeMap::from([(operator.to_string(), BTreeMap::from([(key.to_string(), value)]))])
}

fn document(statement: Vec<Statement>) -> String {
    let policy = Policy {
        version: "2012-10-17".to_string(),
        statement,
    };
    text(&policy)
}

fn text(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("policies hold only string keys")
}
