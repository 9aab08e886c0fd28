//! Gathering: whose account is behind the target, and which digests the images have.

use std::collections::BTreeMap;
use std::sync::Arc;

use portolan_core::facts::{ContainerPath, Facts, ImageSource, PinnedImage};
use portolan_core::resolve::image_requests;
use portolan_provider_api::{CallError, ErrorClass, ImageError, PinRequest};

use super::effect::{Answer, Ask};
use super::goal::{self, Goal};
use super::pursuit::Pursuit;
use super::turn::{Purpose, Turn};
use super::{Next, Timestamp};
use crate::error::{EngineError, ImageFault};
use crate::event::EngineEvent;
use crate::work::Wish;

#[derive(Default)]
pub struct Gathering {
    realm: Option<String>,
    /// Failures of asking for the realm, and when to ask again.
    failures: u32,
    due: Timestamp,
    images: Option<Images>,
}

/// The images of one app on their way to their digests.
#[derive(Default)]
struct Images {
    waiting: Vec<Pin>,
    under_way: BTreeMap<ContainerPath, Pin>,
    pinned: BTreeMap<ContainerPath, PinnedImage>,
    faults: Vec<ImageFault>,
}

struct Pin {
    request: PinRequest,
    failures: u32,
    due: Timestamp,
}

impl Gathering {
    pub fn take(&mut self, purpose: Purpose, answer: Answer, turn: &mut Turn) -> Next {
        match (purpose, answer) {
            (Purpose::Realm, Answer::Realm(answer)) => return self.realm_answered(answer, turn),
            (Purpose::Pin(container), Answer::Pin(answer)) => {
                if let Some(images) = &mut self.images {
                    images.answered(&container, answer, turn);
                }
            }
            _ => {}
        }
        Next::Again
    }

    pub fn proceed(&mut self, turn: &mut Turn) -> Next {
        let Some(realm) = self.realm.clone() else {
            return self.ask_for_realm(turn);
        };
        let mut images = match self.images.take() {
            Some(images) => images,
            None => match requests(&realm, turn) {
                Ok(images) => images,
                Err(error) => return Next::finish(Err(error)),
            },
        };
        if images.advance(turn) {
            return head_for(&realm, images, turn);
        }
        self.images = Some(images);
        Next::Wait
    }

    fn ask_for_realm(&mut self, turn: &mut Turn) -> Next {
        let asked = turn.count(|purpose| *purpose == Purpose::Realm) > 0;
        if !asked && turn.is_due(self.due) {
            let within = turn.base.policy.read_deadline;
            turn.ask(Purpose::Realm, Ask::Realm, Some(within));
        }
        Next::Wait
    }

    fn realm_answered(&mut self, answer: Result<String, CallError>, turn: &mut Turn) -> Next {
        match answer {
            Ok(realm) => {
                turn.reads_again(self.failures);
                self.realm = Some(realm);
            }
            Err(error) => match error.class {
                ErrorClass::Retry { after } if self.failures + 1 < turn.base.policy.tries => {
                    self.failures += 1;
                    self.due = turn.retry_at(self.failures, after);
                    turn.publish(EngineEvent::ReadRetrying { error, at: self.due });
                }
                _ => return Next::finish(Err(EngineError::Call(error))),
            },
        }
        Next::Again
    }
}

impl Images {
    /// Asks for as many images as may be under way; answers whether there is none left to wait for.
    fn advance(&mut self, turn: &mut Turn) -> bool {
        let mut later = Vec::new();
        for pin in std::mem::take(&mut self.waiting) {
            let room = self.under_way.len() < turn.base.policy.pins_at_once;
            if room && turn.is_due(pin.due) {
                self.ask(pin, turn);
            } else {
                later.push(pin);
            }
        }
        self.waiting = later;
        self.waiting.is_empty() && self.under_way.is_empty()
    }

    fn ask(&mut self, pin: Pin, turn: &mut Turn) {
        let container = pin.request.container.clone();
        turn.publish(match &pin.request.source {
            ImageSource::Build(build) => EngineEvent::ImageBuilding {
                container: container.clone(),
                tag: build.tag.clone(),
            },
            ImageSource::Reference(reference) => EngineEvent::ImageLookup {
                container: container.clone(),
                reference: reference.clone(),
            },
        });
        // A build takes as long as it takes: the user sees it run.
        turn.ask(Purpose::Pin(container.clone()), Ask::Pin(pin.request.clone()), None);
        self.under_way.insert(container, pin);
    }

    fn answered(&mut self, container: &ContainerPath, answer: Result<PinnedImage, ImageError>, turn: &mut Turn) {
        let Some(pin) = self.under_way.remove(container) else {
            return;
        };
        match answer {
            Ok(image) => {
                turn.publish(EngineEvent::ImagePinned {
                    container: container.clone(),
                    digest: image.digest.clone(),
                });
                self.pinned.insert(container.clone(), image);
            }
            Err(error) => self.failed(pin, error, turn),
        }
    }

    fn failed(&mut self, mut pin: Pin, error: ImageError, turn: &mut Turn) {
        match error.class {
            ErrorClass::Retry { after } if pin.failures + 1 < turn.base.policy.tries => {
                pin.failures += 1;
                pin.due = turn.retry_at(pin.failures, after);
                self.waiting.push(pin);
            }
            _ => self.faults.push(ImageFault {
                container: pin.request.container,
                error: Box::new(error),
            }),
        }
    }
}

/// The images that the work needs pinned: none for a delete, and those of the journal's generations are.
fn requests(realm: &str, turn: &Turn) -> Result<Images, EngineError> {
    let work = &turn.base.work;
    let requests = match work.wish {
        Wish::Apply => image_requests(&work.resolve_input(realm)).map_err(EngineError::Faults)?,
        Wish::Keep | Wish::Again { .. } | Wish::Rollback { .. } | Wish::Delete { .. } => Vec::new(),
    };
    let pin = |(container, source)| Pin {
        request: PinRequest { container, source },
        failures: 0,
        due: Timestamp::default(),
    };
    Ok(Images {
        waiting: requests.into_iter().map(pin).collect(),
        ..Images::default()
    })
}

/// With all facts known, the work becomes a goal, or a list of faults.
fn head_for(realm: &str, mut images: Images, turn: &mut Turn) -> Next {
    if !images.faults.is_empty() {
        images.faults.sort_by(|one, other| one.container.cmp(&other.container));
        return Next::finish(Err(EngineError::Images(images.faults)));
    }
    let facts = Facts { images: images.pinned };
    let base = &turn.base;
    match Goal::of(&base.work, &*base.shape, realm, facts, &base.policy) {
        Ok(goal) => {
            let scope = Arc::new(goal::scope(&base.work, realm));
            turn.settle_owner(&scope.owner);
            Next::Pursue(Box::new(Pursuit::new(scope, goal, turn)))
        }
        Err(faults) => Next::finish(Err(EngineError::Faults(faults))),
    }
}
