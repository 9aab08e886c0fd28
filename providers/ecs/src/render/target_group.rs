//! Target groups: where a load balancer finds the tasks of a port, and what it asks them.

use portolan_core::desired::{DesiredPort, DesiredProbe, DesiredService, ProbeCheck};
use portolan_core::manifest::Protocol;
use portolan_core::resource::ResourceId;

use super::network::arn_of;
use super::{Part, Renderer, exists, seconds};
use crate::kinds::{TARGET_GROUP, TARGET_GROUP_ATTRIBUTES};
use crate::requests::around::{BalancerProtocol, CreateTargetGroup, Matcher, ModifyTargetGroupAttributes, TargetSort};
use crate::requests::{CapitalTag, Late, capital_tags};

/// What the load balancer takes for healthy, where the manifest asks nothing: an answer that is no failure of the server's.
const ANY_ANSWER: &str = "200-499";
const GOOD_ANSWER: &str = "200-399";

const LONGEST_DRAIN_SECONDS: u64 = 3600;

impl Renderer<'_> {
    pub(super) fn target_group(
        &mut self,
        service: &DesiredService,
        port: &DesiredPort,
        vpc: &str,
        color: &str,
    ) -> ResourceId {
        let part = Part::service(service);
        let name = self.names.target_group(&service.name, port.port, color);
        let request = CreateTargetGroup {
            name: name.clone(),
            port: port.port,
            vpc_id: vpc.to_string(),
            target_type: TargetSort::Ip,
            tags: capital_tags(&self.names.tags(part.name, part.component)),
            ..asked(service, port)
        };
        let group = self.resource(&TARGET_GROUP, name.clone(), part, &request);
        let group = self.add(group);
        let request = ModifyTargetGroupAttributes {
            target_group_arn: arn_of(&group),
            attributes: vec![CapitalTag {
                key: "deregistration_delay.timeout_seconds".to_string(),
                value: Late::Known(seconds(service.stop.drain).to_string()),
            }],
        };
        let mut attributes = self.resource(&TARGET_GROUP_ATTRIBUTES, name, part, &request);
        attributes.edges.push(exists(group.clone()));
        self.add(attributes);
        group
    }

    pub(super) fn check_drain(&mut self, service: &DesiredService) {
        let drain = seconds(service.stop.drain);
        if drain > LONGEST_DRAIN_SECONDS {
            let message =
                format!("a load balancer gives open connections {LONGEST_DRAIN_SECONDS} s to end in, and not {drain}");
            let pointer = format!("{}/stop/drain", service.origin);
            self.fault("StopUnsupported", message, pointer)
                .hint("`drain: 1h` or less");
        }
    }
}

/// What the load balancer asks: `ready`, or where it is not said `live`, as far as it can ask that.
fn asked(service: &DesiredService, port: &DesiredPort) -> CreateTargetGroup {
    let probes = &service.probes;
    let is_http = port.protocol == Protocol::Http;
    let probe = probes.ready.as_ref().or(probes.live.as_ref());
    let http = probe.and_then(|probe| match &probe.check {
        ProbeCheck::Http { path, port } if is_http => Some((path.clone(), *port)),
        _ => None,
    });
    let (interval, timeout, threshold) = pace(probe);
    let (path, code) = match &http {
        Some((path, _)) => (path.clone(), GOOD_ANSWER),
        None => ("/".to_string(), ANY_ANSWER),
    };
    let at = http.map(|(_, at)| at).filter(|at| *at != port.port);
    let protocol = match is_http {
        true => BalancerProtocol::Http,
        false => BalancerProtocol::Tcp,
    };
    CreateTargetGroup {
        name: String::new(),
        protocol,
        port: port.port,
        vpc_id: String::new(),
        target_type: TargetSort::Ip,
        health_check_protocol: protocol,
        health_check_port: at.map_or_else(|| "traffic-port".to_string(), |at| at.to_string()),
        health_check_path: is_http.then_some(path),
        health_check_interval_seconds: interval,
        health_check_timeout_seconds: timeout,
        healthy_threshold_count: 2,
        unhealthy_threshold_count: threshold,
        matcher: is_http.then(|| Matcher {
            http_code: code.to_string(),
        }),
        tags: Vec::new(),
    }
}

/// Within the load balancer's bounds: 5 to 300 seconds, of which an answer may take 2 to 120 and less than all; 2 to 10 failures.
fn pace(probe: Option<&DesiredProbe>) -> (u64, u64, u32) {
    let interval = probe.map_or(10, |probe| seconds(probe.interval)).clamp(5, 300);
    let timeout = probe
        .map_or(5, |probe| seconds(probe.timeout))
        .clamp(2, 120.min(interval - 1));
    let threshold = probe.map_or(3, |probe| probe.threshold).clamp(2, 10);
    (interval, timeout, threshold)
}
