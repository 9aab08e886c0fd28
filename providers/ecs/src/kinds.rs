//! The kinds of things that an app becomes, and the calls by which they are made and changed.

use portolan_core::resource::ResourceId;

/// One kind.
#[derive(Debug, PartialEq, Eq)]
pub struct Kind {
    pub name: &'static str,
    /// Name of the API, as the models of it have it.
    pub api: &'static str,
    pub create: &'static str,
    /// The call that changes one, where it is another one.
    pub update: Option<&'static str>,
    /// Whether the same request again makes nothing more.
    pub create_is_idempotent: bool,
}

const fn kind(name: &'static str, api: &'static str, create: &'static str) -> Kind {
    Kind {
        name,
        api,
        create,
        update: None,
        create_is_idempotent: true,
    }
}

/// Each registration is a further revision of its family.
pub const TASK_DEFINITION: Kind = Kind {
    create_is_idempotent: false,
    ..kind("TaskDefinition", "ecs", "RegisterTaskDefinition")
};
pub const SERVICE: Kind = Kind {
    update: Some("UpdateService"),
    ..kind("Service", "ecs", "CreateService")
};
pub const TASK: Kind = kind("Task", "ecs", "RunTask");
pub const LOG_GROUP: Kind = kind("LogGroup", "logs", "CreateLogGroup");
pub const LOG_RETENTION: Kind = kind("LogRetention", "logs", "PutRetentionPolicy");
pub const ROLE: Kind = kind("Role", "iam", "CreateRole");
pub const ROLE_POLICY: Kind = kind("RolePolicy", "iam", "PutRolePolicy");
pub const TARGET_GROUP: Kind = kind("TargetGroup", "elbv2", "CreateTargetGroup");
pub const TARGET_GROUP_ATTRIBUTES: Kind = kind("TargetGroupAttributes", "elbv2", "ModifyTargetGroupAttributes");
pub const LISTENER: Kind = kind("Listener", "elbv2", "CreateListener");
pub const LISTENER_RULE: Kind = kind("ListenerRule", "elbv2", "CreateRule");
pub const SCALABLE_TARGET: Kind = kind("ScalableTarget", "application-autoscaling", "RegisterScalableTarget");
pub const SCALING_POLICY: Kind = kind("ScalingPolicy", "application-autoscaling", "PutScalingPolicy");
pub const DISCOVERY_SERVICE: Kind = kind("DiscoveryService", "servicediscovery", "CreateService");
pub const SCHEDULE_GROUP: Kind = kind("ScheduleGroup", "scheduler", "CreateScheduleGroup");
pub const SCHEDULE: Kind = Kind {
    update: Some("UpdateSchedule"),
    ..kind("Schedule", "scheduler", "CreateSchedule")
};
pub const ACCESS_POINT: Kind = kind("AccessPoint", "efs", "CreateAccessPoint");

/// Every kind that is rendered.
pub const RENDERED: &[&Kind] = &[
    &TASK_DEFINITION,
    &SERVICE,
    &TASK,
    &LOG_GROUP,
    &LOG_RETENTION,
    &ROLE,
    &ROLE_POLICY,
    &TARGET_GROUP,
    &TARGET_GROUP_ATTRIBUTES,
    &LISTENER,
    &LISTENER_RULE,
    &SCALABLE_TARGET,
    &SCALING_POLICY,
    &DISCOVERY_SERVICE,
    &SCHEDULE_GROUP,
    &SCHEDULE,
    &ACCESS_POINT,
];

impl Kind {
    /// Of a resource; `None` for one that no app becomes.
    pub fn of(id: &ResourceId) -> Option<&'static Self> {
        RENDERED.iter().copied().find(|kind| kind.name == id.kind)
    }

    pub fn id(&self, name: impl Into<String>) -> ResourceId {
        ResourceId::new(self.name, name)
    }
}
