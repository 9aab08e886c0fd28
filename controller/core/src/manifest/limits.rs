//! How many parts a manifest may have.
//!
//! No app comes near to these. An API server takes a rule only where it knows what computing it for all of them can cost, so that
//! the definitions name them; and whatever an API server refuses the parser refuses too.

pub const SERVICES: usize = 2000;
pub const JOBS: usize = 2000;
pub const BINDINGS: usize = 200;
pub const USES: usize = 200;
pub const TARGETS: usize = 64;
/// Of one service.
pub const SIDECARS: usize = 16;
pub const INIT: usize = 16;
pub const PORTS: usize = 64;
pub const SIDECAR_PORTS: usize = 16;
pub const DOMAINS: usize = 256;
pub const ALLOWED_APPS: usize = 256;
pub const SCALE_ON: usize = 8;
pub const STEPS: usize = 16;
pub const AFTER: usize = 256;
/// Of one container.
pub const VARIABLES: usize = 500;
pub const FILES: usize = 100;
pub const VOLUMES: usize = 64;
/// Keys of one binding of a Target; there are fewer.
pub const BINDING_KEYS: usize = 16;
/// Of a Target on Amazon: what its APIs take.
pub const SUBNETS: usize = 16;
pub const SECURITY_GROUPS: usize = 5;
/// What EventBridge Scheduler takes; ECS itself takes more.
pub const CAPACITY_PROVIDERS: usize = 6;
pub const ALARMS: usize = 10;
pub const LOG_OPTIONS: usize = 32;
/// Characters of a duration, and of a quantity.
pub const SHORT_TEXT: usize = 32;
