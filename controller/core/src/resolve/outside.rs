//! What a service is moved by from outside: the domains that lead to it, and what it scales by.

use crate::desired::{DesiredAutoscale, DesiredDomain, DesiredMetric, DesiredQueue};
use crate::manifest::{App, Protocol, Queue, Scale, ScaleOn, Service};

/// Each at the first port that speaks `http`; parse lets no domain through without one.
pub(super) fn domains(service: &Service) -> Vec<DesiredDomain> {
    let Some(port) = service.ports.iter().find(|port| port.protocol == Protocol::Http) else {
        return Vec::new();
    };
    let domain = service.domains.iter().map(|domain| DesiredDomain {
        host: domain.host.clone(),
        tls: domain.tls,
        port: port.port,
    });
    domain.collect()
}

/// `None` where the number stays: nothing says by what it moves, or it has nowhere to go.
pub(super) fn autoscale(app: &App, scale: &Scale) -> Option<DesiredAutoscale> {
    let max = scale.max.filter(|max| *max > scale.min)?;
    let on: Vec<DesiredMetric> = scale.on.iter().filter_map(|on| metric(app, on)).collect();
    (!on.is_empty()).then_some(DesiredAutoscale { max, on })
}

/// The one thing that is said; parse lets neither none nor two through.
fn metric(app: &App, on: &ScaleOn) -> Option<DesiredMetric> {
    let cpu = on.cpu.map(|share| DesiredMetric::Cpu(share.get()));
    let memory = on.memory.map(|share| DesiredMetric::Memory(share.get()));
    cpu.or(memory).or_else(|| queue(app, on.queue.as_ref()?))
}

fn queue(app: &App, queue: &Queue) -> Option<DesiredMetric> {
    let binding = app.spec.bindings.get(&queue.binding)?;
    Some(DesiredMetric::Queue(DesiredQueue {
        binding: queue.binding.clone(),
        binding_type: binding.binding_type,
        name: queue.name.clone().unwrap_or_else(|| queue.binding.clone()),
        length: queue.length,
    }))
}
