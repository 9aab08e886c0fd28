//! Platforms as tables: what is peculiar to each, and the page that says so. Nothing here is code; `rules.rs` makes of a
//! table what the cloud looks up at each call.

use std::fmt;

use crate::kinds::{BALANCER, JOB, NETWORK, SERVICE, VOLUME};

/// A platform, and all that is peculiar to it. What it says nothing about is as in [`crate::kinds`].
pub struct Platform {
    pub name: &'static str,
    pub facts: &'static [Fact],
}

impl fmt::Debug for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

#[derive(Debug)]
pub struct Fact {
    pub is: Peculiarity,
    /// The page that says so and what to look for there, or `made up: ` and why. Where a page gives no figure, the one here
    /// follows after `; made up: `.
    pub source: &'static str,
}

/// One way in which platforms differ. Times are in milliseconds, kinds are named as in [`crate::kinds`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peculiarity {
    /// A list shows a write this late at most.
    ListLags {
        most: u64,
    },
    /// So does the description of a single object; the two know nothing of each other.
    DescriptionLags {
        most: u64,
    },
    /// Requests cost a token each; tokens come back at a steady rate.
    Throttles {
        burst: u32,
        per_second: u32,
        code: &'static str,
        /// What the answer says about when to come back.
        retry_after: Option<u64>,
    },
    /// Writes take their tokens from a bucket of their own.
    ThrottlesWrites {
        burst: u32,
        per_second: u32,
    },
    /// Services get load balancers of their own.
    HasBalancers,
    Quota {
        kind: &'static str,
        most: usize,
    },
    LongestName {
        kind: &'static str,
        characters: usize,
    },
    NamesAreUnique {
        kind: &'static str,
    },
    /// A repeated create with the token of the first is the first.
    ClientToken {
        kind: &'static str,
    },
    /// A deleted object keeps its name this long.
    Drains {
        kind: &'static str,
        takes: u64,
    },
    /// While it does, lists do not show it.
    HiddenWhileDraining {
        kind: &'static str,
    },
    /// A field that nobody has set is answered with this value, as JSON.
    Default {
        kind: &'static str,
        field: &'static str,
        value: &'static str,
    },
    /// A list whose order means nothing is answered in any order.
    Reorders {
        kind: &'static str,
        field: &'static str,
    },
    /// Text whose case means nothing is answered in any case.
    Recases {
        kind: &'static str,
        field: &'static str,
    },
    /// Its outputs are known this long after it was made.
    OutputsAreLate {
        kind: &'static str,
        by: u64,
    },
    /// Each change is a long operation.
    Operation {
        kind: &'static str,
        takes: u64,
    },
    /// A change is refused while another one is under way.
    OneOperationAtATime {
        kind: &'static str,
    },
    /// An update bears the etag of what it was made from, and is refused if that has changed.
    Etag {
        kind: &'static str,
    },
    /// It serves, or has run, this long after a change.
    ReadyAfter {
        kind: &'static str,
        takes: u64,
    },
    /// A change of the field is a replacement.
    Immutable {
        kind: &'static str,
        field: &'static str,
    },
}

use Peculiarity::*;

/// No platform in particular: as simple as one can be.
pub const PLAIN: Platform = Platform {
    name: "plain",
    facts: &[],
};

/// Modelled on Amazon ECS with its load balancers.
pub const ECS_LIKE: Platform = Platform {
    name: "ecs-like",
    facts: &[
        Fact {
            is: ListLags { most: 60_000 },
            source: ECS_CONSISTENCY,
        },
        Fact {
            is: DescriptionLags { most: 20_000 },
            source: ECS_CONSISTENCY,
        },
        Fact {
            is: Throttles {
                burst: 100,
                per_second: 20,
                code: "ThrottlingException",
                retry_after: None,
            },
            source: "https://docs.aws.amazon.com/AmazonECS/latest/APIReference/request-throttling.html: Service read actions",
        },
        Fact {
            is: ThrottlesWrites {
                burst: 50,
                per_second: 5,
            },
            source: "https://docs.aws.amazon.com/AmazonECS/latest/APIReference/request-throttling.html: Service modify actions",
        },
        Fact {
            is: HasBalancers,
            source: "https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-load-balancing.html",
        },
        Fact {
            is: Quota {
                kind: SERVICE.name,
                most: 5000,
            },
            source: "https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-quotas.html: Services per cluster",
        },
        Fact {
            is: Quota {
                kind: BALANCER.name,
                most: 50,
            },
            source: "https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-limits.html: Application Load Balancers per Region",
        },
        Fact {
            is: LongestName {
                kind: SERVICE.name,
                characters: 255,
            },
            source: ECS_SERVICE_NAME,
        },
        Fact {
            is: LongestName {
                kind: BALANCER.name,
                characters: 32,
            },
            source: "https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_CreateLoadBalancer.html: Name",
        },
        Fact {
            is: NamesAreUnique { kind: SERVICE.name },
            source: ECS_SERVICE_NAME,
        },
        Fact {
            is: ClientToken { kind: SERVICE.name },
            source: "https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_CreateService.html: clientToken",
        },
        Fact {
            is: ClientToken { kind: JOB.name },
            source: "https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_RunTask.html: clientToken",
        },
        Fact {
            is: Drains {
                kind: SERVICE.name,
                takes: 30_000,
            },
            source: "https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DeleteService.html: from ACTIVE to DRAINING, whose name is taken; and https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerDefinition.html: stopTimeout, 30 seconds",
        },
        Fact {
            is: HiddenWhileDraining { kind: SERVICE.name },
            source: "https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DeleteService.html: no longer visible in ListServices, still viewed with DescribeServices",
        },
        Fact {
            is: Default {
                kind: SERVICE.name,
                field: "schedulingStrategy",
                value: "\"REPLICA\"",
            },
            source: "https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_CreateService.html: schedulingStrategy",
        },
        Fact {
            is: Default {
                kind: SERVICE.name,
                field: "propagateTags",
                value: "\"NONE\"",
            },
            source: "https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_CreateService.html: propagateTags",
        },
        Fact {
            is: Default {
                kind: BALANCER.name,
                field: "ipAddressType",
                value: "\"ipv4\"",
            },
            source: "https://docs.aws.amazon.com/elasticloadbalancing/latest/application/application-load-balancers.html: IP address type; made up: that it is ipv4 where nobody says so",
        },
        Fact {
            is: Reorders {
                kind: SERVICE.name,
                field: "publishes",
            },
            source: ECS_ORDER,
        },
        Fact {
            is: Reorders {
                kind: SERVICE.name,
                field: "uses",
            },
            source: ECS_ORDER,
        },
        Fact {
            is: Recases {
                kind: BALANCER.name,
                field: "protocol",
            },
            source: "made up: no page says that the case given is the case answered",
        },
        Fact {
            is: OutputsAreLate {
                kind: BALANCER.name,
                by: 2_000,
            },
            source: "made up: the name is in the answer to the create at AWS; elsewhere an address comes late",
        },
        Fact {
            is: ReadyAfter {
                kind: BALANCER.name,
                takes: 3_000,
            },
            source: "https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_LoadBalancerState.html: provisioning, then active; made up: the 3 s",
        },
        Fact {
            is: Immutable {
                kind: BALANCER.name,
                field: "protocol",
            },
            source: "https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_ModifyTargetGroup.html: takes none",
        },
    ],
};

/// It says too that waits may grow to five minutes.
const ECS_CONSISTENCY: &str = "https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_RunTask.html: eventual consistency model; made up: how late, and that lists are later";
const ECS_SERVICE_NAME: &str =
    "https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_CreateService.html: serviceName";
const ECS_ORDER: &str = "https://github.com/hashicorp/terraform-provider-aws/pull/11463: the environment of a container is reordered; made up: that these are, for the environment is no list here";

/// Modelled on Google Cloud Run: a long operation for each change, etags, and revisions of which the last ready one serves.
pub const CLOUD_RUN_LIKE: Platform = Platform {
    name: "cloud-run-like",
    facts: &[
        Fact {
            is: Throttles {
                burst: 60,
                per_second: 20,
                code: "RESOURCE_EXHAUSTED",
                retry_after: Some(5_000),
            },
            source: "https://github.com/googleapis/repo-automation-bots/issues/4469: Read requests per minute per region, INSUFFICIENT_TOKENS; made up: the figures, and the pause that it names",
        },
        Fact {
            is: Quota {
                kind: SERVICE.name,
                most: 1000,
            },
            source: "https://cloud.google.com/run/quotas: Maximum number of services",
        },
        Fact {
            is: Quota {
                kind: JOB.name,
                most: 1000,
            },
            source: "https://cloud.google.com/run/quotas: Maximum number of jobs",
        },
        Fact {
            is: LongestName {
                kind: SERVICE.name,
                characters: 49,
            },
            source: "https://cloud.google.com/run/docs/reference/rest/v2/projects.locations.services/create: serviceId, fewer than 50 characters",
        },
        Fact {
            is: LongestName {
                kind: JOB.name,
                characters: 49,
            },
            source: "made up: the page of projects.locations.jobs/create names no limit of jobId; that of services is taken",
        },
        Fact {
            is: NamesAreUnique { kind: SERVICE.name },
            source: "https://cloud.google.com/run/docs/reference/rest/v2/projects.locations.services: name",
        },
        Fact {
            is: NamesAreUnique { kind: JOB.name },
            source: "https://cloud.google.com/run/docs/reference/rest/v2/projects.locations.jobs: name",
        },
        Fact {
            is: Operation {
                kind: SERVICE.name,
                takes: 4_000,
            },
            source: "https://cloud.google.com/run/docs/reference/rest/v2/projects.locations.services/create: an instance of Operation; made up: the 4 s",
        },
        Fact {
            is: Operation {
                kind: JOB.name,
                takes: 1_000,
            },
            source: "https://cloud.google.com/run/docs/reference/rest/v2/projects.locations.jobs/create: an instance of Operation; made up: the 1 s",
        },
        Fact {
            is: Operation {
                kind: NETWORK.name,
                takes: 800,
            },
            source: COMPUTE_OPERATIONS,
        },
        Fact {
            is: Operation {
                kind: VOLUME.name,
                takes: 1_500,
            },
            source: COMPUTE_OPERATIONS,
        },
        Fact {
            is: OneOperationAtATime { kind: SERVICE.name },
            source: "made up: no page says what becomes of a change while another one is under way; this is the stricter",
        },
        Fact {
            is: Etag { kind: SERVICE.name },
            source: "https://cloud.google.com/run/docs/reference/rest/v2/projects.locations.services: etag, to detect modification conflict during updates",
        },
        Fact {
            is: Etag { kind: JOB.name },
            source: "https://cloud.google.com/run/docs/reference/rest/v2/projects.locations.jobs: etag",
        },
        Fact {
            is: Default {
                kind: SERVICE.name,
                field: "ingress",
                value: "\"INGRESS_TRAFFIC_ALL\"",
            },
            source: "https://cloud.google.com/run/docs/securing/ingress: All, the default",
        },
        Fact {
            is: Default {
                kind: SERVICE.name,
                field: "timeout",
                value: "\"300s\"",
            },
            source: "https://cloud.google.com/run/docs/configuring/request-timeout: 5 minutes (300 seconds) by default",
        },
        Fact {
            is: Drains {
                kind: SERVICE.name,
                takes: 1_500,
            },
            source: "https://cloud.google.com/run/docs/reference/rest/v2/projects.locations.services/delete: an instance of Operation; made up: the 1.5 s",
        },
        Fact {
            is: ReadyAfter {
                kind: SERVICE.name,
                takes: 4_000,
            },
            source: "https://cloud.google.com/run/docs/reference/rest/v2/projects.locations.services: reconciling; made up: the 4 s",
        },
    ],
};

const COMPUTE_OPERATIONS: &str = "https://cloud.google.com/compute/docs/api/how-tos/api-requests-responses: an Operation for each request that changes; made up: how long it takes";

/// As simple, and its account may ask seldom.
pub const SMALL_QUOTA: Platform = Platform {
    name: "small-quota",
    facts: &[Fact {
        is: Throttles {
            burst: 10,
            per_second: 2,
            code: "TooManyRequests",
            retry_after: None,
        },
        source: "made up: what a budget is for shows where it is used up",
    }],
};

pub const PLATFORMS: [&Platform; 3] = [&PLAIN, &ECS_LIKE, &CLOUD_RUN_LIKE];
