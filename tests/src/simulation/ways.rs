//! Ways that once led to a bug: what a seed has found, with all left out that it did not need, or what was thought of. Each
//! is a regression test of what was mended then; `tests/tests/mutants.rs` says which bugs they catch.

use portolan_provider_fake::platform::{CLOUD_RUN_LIKE, ECS_LIKE, PLAIN, Platform, SMALL_QUOTA};

use super::catalogue::Version::{self, *};
use super::fault::Fault;
use super::local::LOCAL;
use super::scenario::Start::{After, Halfway, Missed};
use super::scenario::{Lag, Outside, Scenario, Start};

type Versions<'a> = &'a [(Start, Version)];

fn way(seed: u64, platform: &'static Platform, lag: (u64, u64), scripts: &[Versions<'_>]) -> Scenario {
    let (list, description) = lag;
    Scenario {
        seed,
        scripts: scripts.iter().map(|script| script.to_vec()).collect(),
        ..Scenario::alone(platform, Lag { list, description }, &[Hello])
    }
}

impl Scenario {
    fn meeting(self, faults: &[(u64, Fault)]) -> Self {
        self.with_faults(faults.to_vec())
    }

    fn with_outside(self, outside: &[(u64, Outside)]) -> Self {
        Self {
            outside: outside.to_vec(),
            ..self
        }
    }
}

/// By the name of what happens.
pub fn ways() -> Vec<(&'static str, Scenario)> {
    let found = found().into_iter().chain(on_this_machine());
    found.chain(remembered()).chain(empty_lists()).collect()
}

fn found() -> Vec<(&'static str, Scenario)> {
    let busy: &[Versions<'_>] = &[
        &[(After(0), Shop), (After(0), ShopImage)],
        &[(After(0), Shop), (After(0), ShopImage)],
        &[(After(0), HelloWorker)],
    ];
    vec![
        (
            "renamed and back, with reads of before",
            way(
                429,
                &CLOUD_RUN_LIKE,
                (5_000, 60_000),
                &[&[(After(0), Hello), (After(3_095), HelloRenamed), (After(6_869), Hello)]],
            ),
        ),
        ("three apps with a small quota", way(1, &SMALL_QUOTA, (0, 0), busy)),
        (
            "a pause while others have their tokens",
            way(1, &SMALL_QUOTA, (0, 0), busy).meeting(&[(24, Fault::ThrottledUntil)]),
        ),
        (
            "the lease passes while its holder stands still",
            Scenario {
                controllers: 2,
                ..way(15, &CLOUD_RUN_LIKE, (700, 60_000), &[&[(After(0), ShopImage)]])
            }
            .with_outside(&[(
                8_617,
                Outside::Stalled {
                    controller: 0,
                    ms: 32_146,
                },
            )]),
        ),
        (
            "removed by hand, and made again",
            way(
                227,
                &PLAIN,
                (60_000, 5_000),
                &[
                    &[(After(0), ShopMigration)],
                    &[(After(0), Hello), (After(2_520), HelloWorker)],
                ],
            )
            .with_outside(&[(39_556, Outside::RemovedByHand { app: 1, nth: 2 })]),
        ),
        (
            "a volume is removed before what waits for it is made",
            way(7, &PLAIN, (0, 0), &[&[(After(0), Shop)]])
                .with_outside(&[(300, Outside::RemovedByHand { app: 0, nth: 1 })]),
        ),
        (
            "removed by hand while a newer one is held",
            way(
                7,
                &PLAIN,
                (0, 0),
                &[&[(After(0), HelloPublic), (After(30_000), HelloPortFails)]],
            )
            .with_outside(&[(3_000_000, Outside::RemovedByHand { app: 0, nth: 0 })]),
        ),
        (
            "killed on the way back",
            way(
                25,
                &PLAIN,
                (5_000, 5_000),
                &[&[(After(3_000), HelloPublic), (After(3_000), HelloStalls)]],
            )
            .meeting(&[(43, Fault::CrashAfterAnswer)]),
        ),
        (
            "killed before a job's create is recorded",
            way(12, &ECS_LIKE, (60_000, 5_000), &[&[(After(0), ShopWithoutWeb)]])
                .meeting(&[(28, Fault::CrashAfterAnswer)]),
        ),
        (
            "wanted again while it drains",
            way(
                66,
                &ECS_LIKE,
                (700, 0),
                &[&[
                    (Missed(4_001), HelloPublic),
                    (After(18_074), HelloRenamed),
                    (Halfway(3_365), Hello),
                ]],
            ),
        ),
        (
            "three apps, of which one loses its balancer",
            way(
                769,
                &ECS_LIKE,
                (5_000, 5_000),
                &[
                    &[(After(0), Hello)],
                    &[(Missed(5_681), Shop)],
                    &[
                        (After(0), HelloPort),
                        (After(6_089), HelloPublic),
                        (Halfway(1_489), HelloRenamed),
                    ],
                ],
            ),
        ),
        (
            "a worker that drains",
            way(
                5,
                &ECS_LIKE,
                (5_000, 0),
                &[&[(After(0), HelloWorker), (After(18_748), HelloPublic)]],
            ),
        ),
        (
            "changed by hand while an operation goes on",
            way(181, &CLOUD_RUN_LIKE, (0, 0), &[&[(After(0), HelloRenamed)]])
                .with_outside(&[(59_802, Outside::ChangedByHand { app: 0, nth: 6 })]),
        ),
        (
            "locked out by an operation of its own",
            way(
                7,
                &CLOUD_RUN_LIKE,
                (700, 300),
                &[&[(After(0), Hello), (After(3_000), HelloImage), (Halfway(600), Hello)]],
            )
            .meeting(&[(28, Fault::OperationSlow)]),
        ),
        (
            "locked out by its own retry after that",
            way(
                7,
                &CLOUD_RUN_LIKE,
                (700, 300),
                &[&[(After(0), Hello), (After(3_000), HelloImage), (Halfway(600), Hello)]],
            )
            .meeting(&[(59, Fault::ServerErrorApplied)]),
        ),
        (
            "made twice over, and read as the first time",
            way(7, &CLOUD_RUN_LIKE, (700, 300), &[&[(After(0), Hello)]]).meeting(&[(9, Fault::AnswerLost)]),
        ),
        (
            "three tries, of which none is answered well",
            way(325, &CLOUD_RUN_LIKE, (0, 5_000), &[&[(Missed(1_204), HelloPort)]]).meeting(&[
                (5, Fault::ServerErrorApplied),
                (20, Fault::AnswerLost),
                (22, Fault::Truncated),
            ]),
        ),
        (
            "shown again on its way out",
            way(
                1_393,
                &ECS_LIKE,
                (700, 60_000),
                &[&[(After(0), HelloWorker), (Halfway(1_484), HelloEnv)]],
            ),
        ),
        (
            "nobody answers the first question",
            way(1, &PLAIN, (0, 0), &[&[(After(0), Hello)]]).meeting(&[(0, Fault::AnswerLost)]),
        ),
        (
            "a refusal of many lines",
            way(1, &PLAIN, (0, 0), &[&[(After(0), Hello)]]).meeting(&[(5, Fault::Oversize)]),
        ),
        (
            "two updates that fail, the second asked for half way",
            way(
                7,
                &ECS_LIKE,
                (0, 700),
                &[&[
                    (After(0), ShopMigration),
                    (After(5_878), ShopFails),
                    (Halfway(1_024), ShopFails),
                ]],
            ),
        ),
        (
            "a delete held at its last object, and one over a list that lags",
            way(
                6_667,
                &CLOUD_RUN_LIKE,
                (60_000, 0),
                &[
                    &[(After(15_354), HelloEnv)],
                    &[(After(17_566), Shop), (Missed(826), Delete), (After(19_852), Delete)],
                    &[(After(8_117), ShopImage)],
                ],
            )
            .with_outside(&[(6_320, Outside::ChangedByHand { app: 2, nth: 0 })])
            .meeting(&[
                (6, Fault::SlowAnswer),
                (94, Fault::ClockSkewed),
                (175, Fault::CredentialsExpired),
            ]),
        ),
        (
            "a delete that is cut off while that drains which no record knows",
            Scenario {
                accounts: 2,
                ..way(
                    1_013_822,
                    &ECS_LIKE,
                    (700, 0),
                    &[&[
                        (After(19_904), Shop),
                        (After(4_200), DeleteWithData),
                        (Halfway(2_894), ShopImage),
                        (After(10_413), Delete),
                    ]],
                )
            }
            .with_outside(&[
                (28_408, Outside::Moved { app: 0 }),
                (41_759, Outside::Killed { controller: 0 }),
                (16_079, Outside::Moved { app: 0 }),
            ]),
        ),
        (
            "back where it was, and wanted so at once",
            way(
                402_711,
                &CLOUD_RUN_LIKE,
                (700, 60_000),
                &[&[
                    (Halfway(4_092), HelloPublic),
                    (After(9_547), HelloStalls),
                    (After(205), HelloPublic),
                ]],
            ),
        ),
        (
            "a generation that could not be written down, by a run that is interrupted",
            way(
                210_979,
                &CLOUD_RUN_LIKE,
                (60_000, 700),
                &[
                    &[(After(18_458), Hello)],
                    &[(After(11_319), Hello), (Halfway(50), Delete)],
                ],
            )
            .meeting(&[(6, Fault::ServerErrorNotApplied)]),
        ),
        (
            "a read of before an answer was known, and of before what was written again because of it",
            way(
                659_004,
                &ECS_LIKE,
                (60_000, 5_000),
                &[&[
                    (After(9_142), Hello),
                    (After(15_056), HelloImage),
                    (After(10_096), HelloPublic),
                ]],
            )
            .meeting(&[(22, Fault::Oversize), (56, Fault::OperationSlow)]),
        ),
        (
            "a rollback, and a lease that passes",
            Scenario {
                controllers: 2,
                ..way(
                    1_041,
                    &PLAIN,
                    (700, 700),
                    &[
                        &[(After(0), Hello), (After(11_516), Delete)],
                        &[
                            (After(0), Hello),
                            (After(13_770), HelloStalls),
                            (Halfway(4_176), HelloWorker),
                            (Missed(2_908), HelloWorker),
                        ],
                    ],
                )
            }
            .with_outside(&[(
                10_948,
                Outside::Stalled {
                    controller: 0,
                    ms: 38_849,
                },
            )])
            .meeting(&[
                (1, Fault::CrashAfterAnswer),
                (25, Fault::ServerErrorApplied),
                (33, Fault::CrashBeforeSend),
                (86, Fault::AnswerLost),
                (90, Fault::CredentialsExpired),
            ]),
        ),
    ]
}

fn on_this_machine() -> Vec<(&'static str, Scenario)> {
    let killed = Outside::SupervisorKilled { app: 0, keeper: true };
    let ends = Outside::ContainerEnds {
        app: 0,
        nth: 1,
        code: 1,
    };
    vec![
        (
            "nobody looks after the app while it gets ready",
            way(1, &LOCAL, (0, 0), &[&[(After(0), Hello)]]).with_outside(&[(700, killed)]),
        ),
        (
            "a machine is rebooted while a service ends that is wanted again",
            way(
                1_003_991,
                &LOCAL,
                (0, 0),
                &[&[(After(17_073), Shop), (After(13_222), Delete), (Missed(5_504), Shop)]],
            )
            .with_outside(&[(32_075, Outside::Rebooted)])
            .meeting(&[(7, Fault::CrashAfterAnswer), (74, Fault::OperationSlow)]),
        ),
        (
            "a supervisor is killed while a service drains that is wanted again",
            way(
                232_487,
                &LOCAL,
                (0, 0),
                &[
                    &[(After(19_374), ShopImage)],
                    &[(After(2_456), Shop)],
                    &[
                        (After(3_758), Shop),
                        (Halfway(2_572), Delete),
                        (Halfway(316), ShopImage),
                    ],
                ],
            )
            .with_outside(&[(5_886, Outside::SupervisorKilled { app: 2, keeper: false })])
            .meeting(&[(30, Fault::ClockSkewed), (50, Fault::OperationSlow)]),
        ),
        (
            "a migration that fails, and is tried again",
            way(1, &LOCAL, (0, 0), &[&[(After(0), Shop)]])
                .with_outside(&(0..32).map(|nth| (1_000 + nth * 50, ends)).collect::<Vec<_>>()),
        ),
    ]
}

/// What failed, and what the target remembers of it.
fn remembered() -> Vec<(&'static str, Scenario)> {
    let fails: Versions<'_> = &[(After(0), Hello), (After(3_000), HelloFails)];
    let and_then: Versions<'_> = &[(After(0), Hello), (After(3_000), HelloFails), (After(3_000), Hello)];
    let lost = &[(400_000, Outside::JournalLost)];
    vec![
        (
            "held, and the journal is lost",
            way(1, &ECS_LIKE, (5_000, 700), &[fails]).with_outside(lost),
        ),
        (
            "held on this machine, and the journal is lost",
            way(1, &LOCAL, (0, 0), &[fails]).with_outside(lost),
        ),
        (
            "held, and then something newer",
            way(1, &CLOUD_RUN_LIKE, (700, 5_000), &[and_then]).with_outside(lost),
        ),
    ]
}

/// Half way back to what was, with an empty list at one look after the other.
fn empty_lists() -> impl Iterator<Item = (&'static str, Scenario)> {
    let back: Versions<'_> = &[(After(0), Hello), (After(3_000), HelloImage), (Halfway(600), Hello)];
    let plain = way(10, &PLAIN, (5_000, 5_000), &[back]);
    (20..60).map(move |call| ("an empty list", plain.with_faults(vec![(call, Fault::EmptyList)])))
}
