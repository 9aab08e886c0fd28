//! What moves the number of a service's tasks: Application Auto Scaling, which holds a share of what they use at what is said.

use portolan_core::desired::{DesiredMetric, DesiredService};

use super::{Part, Renderer, exists};
use crate::kinds::{SCALABLE_TARGET, SCALING_POLICY, SERVICE};
use crate::requests::around::{
    Metric, PolicySort, PredefinedMetric, PutScalingPolicy, RegisterScalableTarget, TargetTracking,
};

const NAMESPACE: &str = "ecs";
const DIMENSION: &str = "ecs:service:DesiredCount";

impl Renderer<'_> {
    pub(super) fn scaling(&mut self, service: &DesiredService) {
        let Some(scale) = &service.autoscale else { return };
        let part = Part::service(service);
        let name = self.names.of(&service.name);
        let resource_id = format!("service/{}/{name}", self.target.cluster);
        let request = RegisterScalableTarget {
            service_namespace: NAMESPACE.to_string(),
            resource_id: resource_id.clone(),
            scalable_dimension: DIMENSION.to_string(),
            min_capacity: service.replicas,
            max_capacity: scale.max,
            tags: self.names.tags(part.name, part.component),
        };
        let mut target = self.resource(&SCALABLE_TARGET, name.clone(), part, &request);
        target.edges.push(exists(SERVICE.id(name)));
        let target = self.add(target);
        for metric in &scale.on {
            let Some((word, metric, share)) = tracked(metric) else {
                continue;
            };
            let name = self.names.beside(&service.name, word);
            let request = PutScalingPolicy {
                policy_name: name.clone(),
                policy_type: PolicySort::TargetTrackingScaling,
                service_namespace: NAMESPACE.to_string(),
                resource_id: resource_id.clone(),
                scalable_dimension: DIMENSION.to_string(),
                target_tracking_scaling_policy_configuration: TargetTracking {
                    target_value: f64::from(share),
                    predefined_metric_specification: PredefinedMetric {
                        predefined_metric_type: metric,
                    },
                },
            };
            let mut policy = self.resource(&SCALING_POLICY, name, part, &request);
            policy.edges.push(exists(target.clone()));
            self.add(policy);
        }
    }
}

/// A queue is refused before: CloudWatch knows none of those that an app can have.
fn tracked(metric: &DesiredMetric) -> Option<(&'static str, Metric, u8)> {
    match metric {
        DesiredMetric::Cpu(share) => Some(("cpu", Metric::Cpu, *share)),
        DesiredMetric::Memory(share) => Some(("memory", Metric::Memory, *share)),
        DesiredMetric::Queue(_) => None,
    }
}
