//! What moves the number of replicas: a HorizontalPodAutoscaler, or KEDA where a queue is asked.

use portolan_core::desired::{DesiredAutoscale, DesiredMetric, DesiredQueue, DesiredService};
use portolan_core::manifest::BindingType;
use serde_json::{Value, json};

use super::{Part, Renderer, exists};
use crate::kinds::{AUTOSCALER, Kind, SCALED_OBJECT};

impl Renderer<'_> {
    pub(super) fn scaling(&mut self, service: &DesiredService, workload: &Kind) {
        let Some(scale) = &service.autoscale else { return };
        let name = self.names.of(&service.name);
        let asks_queues = scale.on.iter().any(|metric| matches!(metric, DesiredMetric::Queue(_)));
        let target = json!({ "apiVersion": workload.api_version(), "kind": workload.name, "name": name });
        // KEDA makes the autoscaler of what it scales, and two of them would quarrel.
        let (kind, body) = match asks_queues {
            true => (&SCALED_OBJECT, scaled_object(service, scale, target)),
            false => (&AUTOSCALER, autoscaler(service, scale, target)),
        };
        let mut rendered = self.object(kind, name.clone(), Part::service(service), body);
        rendered.edges.push(exists(workload.id(name)));
        self.add(rendered);
    }
}

fn autoscaler(service: &DesiredService, scale: &DesiredAutoscale, target: Value) -> Value {
    let metrics = scale.on.iter().filter_map(|metric| match metric {
        DesiredMetric::Cpu(share) => Some(of_container(service, "cpu", *share)),
        DesiredMetric::Memory(share) => Some(of_container(service, "memory", *share)),
        DesiredMetric::Queue(_) => None,
    });
    json!({ "spec": {
        "scaleTargetRef": target,
        "minReplicas": service.replicas,
        "maxReplicas": scale.max,
        "metrics": metrics.collect::<Vec<_>>(),
    }})
}

/// Of the service's own container: what a sidecar uses is no reason for another replica, and it need not have a limit.
fn of_container(service: &DesiredService, resource: &str, share: u8) -> Value {
    let target = json!({ "type": "Utilization", "averageUtilization": share });
    let source = json!({ "name": resource, "container": service.name, "target": target });
    json!({ "type": "ContainerResource", "containerResource": source })
}

fn scaled_object(service: &DesiredService, scale: &DesiredAutoscale, mut target: Value) -> Value {
    // Whose variables say where the queue is.
    target["envSourceContainerName"] = json!(service.name);
    let triggers: Vec<Value> = scale.on.iter().map(|metric| trigger(service, metric)).collect();
    json!({ "spec": {
        "scaleTargetRef": target,
        "minReplicaCount": service.replicas,
        "maxReplicaCount": scale.max,
        "triggers": triggers,
    }})
}

/// <https://keda.sh/docs/latest/scalers/>: a scaler takes texts alone.
fn trigger(service: &DesiredService, metric: &DesiredMetric) -> Value {
    let share = |kind: &str, share: &u8| {
        let metadata = json!({ "containerName": service.name, "value": share.to_string() });
        json!({ "type": kind, "metricType": "Utilization", "metadata": metadata })
    };
    match metric {
        DesiredMetric::Cpu(percent) => share("cpu", percent),
        DesiredMetric::Memory(percent) => share("memory", percent),
        DesiredMetric::Queue(queue) if queue.binding_type == BindingType::Redis => redis(service, queue),
        DesiredMetric::Queue(queue) => rabbitmq(queue),
    }
}

fn rabbitmq(queue: &DesiredQueue) -> Value {
    json!({ "type": "rabbitmq", "metadata": {
        "hostFromEnv": variable(queue, "URL"),
        "mode": "QueueLength",
        "queueName": queue.name,
        "value": queue.length.to_string(),
    }})
}

/// Without a password where the binding has none.
fn redis(service: &DesiredService, queue: &DesiredQueue) -> Value {
    let mut metadata = json!({
        "hostFromEnv": variable(queue, "HOST"),
        "portFromEnv": variable(queue, "PORT"),
        "listName": queue.name,
        "listLength": queue.length.to_string(),
    });
    for (field, key) in [("usernameFromEnv", "USERNAME"), ("passwordFromEnv", "PASSWORD")] {
        let name = variable(queue, key);
        if service.container.env.contains_key(&name) {
            metadata[field] = json!(name);
        }
    }
    json!({ "type": "redis", "metadata": metadata })
}

/// As resolve has called it.
fn variable(queue: &DesiredQueue, key: &str) -> String {
    format!("{}_{key}", queue.binding.to_uppercase().replace('-', "_"))
}
