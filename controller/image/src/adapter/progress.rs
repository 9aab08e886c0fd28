//! What is told of images while work on them goes on.

use portolan_core::reference::Digest;

use crate::build::{BuildEvent, BuildProgress, BuiltImage};
use crate::progress::Progress;

/// Hears what becomes of images. Calls come from several tasks and threads at once, and must be cheap.
pub trait ImagesProgress: Send + Sync {
    /// `image` is the name as a user would write it; of an image that is only unpacked, the short digest.
    fn event(&self, image: &str, event: ImageEvent<'_>);
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq)]
pub enum ImageEvent<'a> {
    /// Told before it is known whether there is anything to do.
    BuildStarted,
    /// A step, a line of its output, or a warning.
    Build(BuildEvent<'a>),
    Built(&'a BuiltImage),
    PullStarted,
    Pulled(&'a Digest),
    /// A transfer or an unpacking begins, as `pull 3f1c…`; `total` is in bytes, where it is known.
    UnitStarted {
        unit: &'a str,
        total: Option<u64>,
    },
    UnitAdvanced {
        unit: &'a str,
        bytes: u64,
    },
    UnitFinished {
        unit: &'a str,
    },
}

/// Passes on what is told of one image.
pub(super) struct Told<'a> {
    image: &'a str,
    to: &'a dyn ImagesProgress,
}

impl<'a> Told<'a> {
    pub fn new(image: &'a str, to: &'a dyn ImagesProgress) -> Self {
        Self { image, to }
    }
}

impl Progress for Told<'_> {
    fn started(&self, unit: &str, total: Option<u64>) {
        self.to.event(self.image, ImageEvent::UnitStarted { unit, total });
    }

    fn advanced(&self, unit: &str, bytes: u64) {
        self.to.event(self.image, ImageEvent::UnitAdvanced { unit, bytes });
    }

    fn finished(&self, unit: &str) {
        self.to.event(self.image, ImageEvent::UnitFinished { unit });
    }
}

impl BuildProgress for Told<'_> {
    fn event(&self, event: BuildEvent<'_>) {
        self.to.event(self.image, ImageEvent::Build(event));
    }
}

impl ImagesProgress for crate::Silent {
    fn event(&self, _image: &str, _event: ImageEvent<'_>) {}
}
