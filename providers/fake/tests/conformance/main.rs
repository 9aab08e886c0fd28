//! The conformance suite against clouds in memory, each platform of them.

mod account;

use account::{CloudRunLike, EcsLike, InMemory, Plain};
use portolan_conformance::conformance;

mod plain {
    use super::*;

    conformance!(InMemory<Plain>, start_paused = true);
}

mod ecs_like {
    use super::*;

    conformance!(InMemory<EcsLike>, start_paused = true);
}

mod cloud_run_like {
    use super::*;

    conformance!(InMemory<CloudRunLike>, start_paused = true);
}
