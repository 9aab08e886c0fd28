//! What becomes of images, as lines: steps of a build and what they print, layers that come and go.

use std::sync::Arc;

use portolan_image::build::{BuildEvent, StepName};
use portolan_image::{ImageEvent, ImagesProgress};

use crate::progress::Progress;

pub struct ImageProgress {
    progress: Arc<Progress>,
}

impl ImageProgress {
    pub fn new(progress: Arc<Progress>) -> Self {
        Self { progress }
    }

    fn build(&self, image: &str, event: BuildEvent<'_>) {
        match event {
            BuildEvent::Started(step) => self.progress.line(&format!("{image}  {}", words(step))),
            BuildEvent::Output(_, line) => self.progress.line(&format!("{image}  | {line}")),
            BuildEvent::Warning(text) => self.progress.line(&format!("{image}  warning: {text}")),
            BuildEvent::Cached(step) | BuildEvent::Finished(step) => {
                self.progress.passing(&format!("{image}  {}", words(step)));
            }
        }
    }
}

impl ImagesProgress for ImageProgress {
    fn event(&self, image: &str, event: ImageEvent<'_>) {
        let image = shown(image);
        match event {
            ImageEvent::Build(event) => self.build(image, event),
            ImageEvent::Built(built) if built.cached_steps < built.steps => self.progress.line(&format!(
                "{image}  built {}, {} of {} steps from the cache",
                built.digest.short(),
                built.cached_steps,
                built.steps
            )),
            ImageEvent::PullStarted => self.progress.line(&format!("{image}  pulling")),
            ImageEvent::Pulled(digest) => self.progress.line(&format!("{image}  pulled {}", digest.short())),
            ImageEvent::UnitStarted { unit, total } => {
                let size = total.map_or(String::new(), |bytes| format!(", {}", size(bytes)));
                self.progress.passing(&format!("{image}  {unit}{size}"));
            }
            ImageEvent::BuildStarted
            | ImageEvent::Built(_)
            | ImageEvent::UnitAdvanced { .. }
            | ImageEvent::UnitFinished { .. } => {}
        }
    }
}

/// One image that is pushed or pulled.
pub struct TransferProgress {
    progress: Arc<Progress>,
    image: String,
}

impl TransferProgress {
    pub fn new(progress: Arc<Progress>, image: String) -> Self {
        Self { progress, image }
    }
}

impl portolan_image::Progress for TransferProgress {
    fn started(&self, unit: &str, total: Option<u64>) {
        let size = total.map_or(String::new(), |bytes| format!(", {}", size(bytes)));
        self.progress.passing(&format!("{}  {unit}{size}", self.image));
    }

    fn advanced(&self, _unit: &str, _bytes: u64) {}

    fn finished(&self, unit: &str) {
        self.progress.line(&format!("{}  {unit}", self.image));
    }
}

/// What a manifest's build is called in the store says where it stands: `shop/services/web` is enough of it here.
fn shown(image: &str) -> &str {
    let ours = image.strip_prefix("portolan.local/default/");
    ours.and_then(|name| name.strip_suffix(":latest")).unwrap_or(image)
}

/// `build 2/5  RUN make`.
fn words(step: &StepName) -> String {
    format!("{} {}/{}  {}", step.stage, step.number, step.of, step.instruction)
}

/// Bytes as people read them: `3.4 MiB`.
pub fn size(bytes: u64) -> String {
    let (mut value, mut unit) = (bytes as f64, "B");
    for next in ["KiB", "MiB", "GiB", "TiB"] {
        if value < 1024.0 {
            break;
        }
        (value, unit) = (value / 1024.0, next);
    }
    match unit {
        "B" => format!("{bytes} B"),
        _ => format!("{value:.1} {unit}"),
    }
}
