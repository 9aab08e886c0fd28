//! What the engine is asked to do: one app, on one target, to one end.

use std::path::PathBuf;
use std::sync::Arc;

use portolan_core::manifest::{App, Approval, Target};
use portolan_core::name::hash_of;
use portolan_core::plan::{PlanOptions, SavedPlan};
use portolan_core::resolve::ResolveInput;

use crate::journal::{AppKey, Generation};

/// One piece of work, from its beginning to its end.
#[derive(Clone, Debug)]
pub struct Work {
    /// With the target's overrides merged in.
    pub app: Arc<App>,
    pub target: Arc<Target>,
    /// Who wrote the manifest: `file`, or the name of a Git source or Kubernetes object.
    pub source: String,
    /// The folder of the manifest's file: builds are relative to it.
    pub folder: PathBuf,
    pub wish: Wish,
    /// What the user allows. `delete`, and for a delete `allow_data_loss`, follow from the wish.
    pub options: PlanOptions,
    /// The plan that alone may be carried out. It was looked at, so that what it asks approval for has been given.
    pub only: Option<Arc<SavedPlan>>,
    /// Return once every step was taken, without waiting for the last of them to get ready.
    pub no_wait: bool,
    /// What the journal holds of the generation that the wish speaks of, filled in by the engine: the manifest is not
    /// asked then.
    pub generation: Option<Arc<Generation>>,
}

/// What shall become of the app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    Apply,
    /// What a controller wishes, again and again: as `Apply`, but while the manifest is the one that the newest generation
    /// was made from, that generation as it was rendered. So no resync pins a tag anew, and what somebody has rolled back
    /// stays so until there is another manifest.
    Keep,
    /// The newest generation as it was rendered, whatever the manifest says now; with `retry` also if it is held.
    Again {
        retry: bool,
    },
    /// A new generation with what an earlier one rendered: the one with this number, or the last that converged before
    /// the newest.
    Rollback {
        to: Option<u64>,
    },
    /// Everything but what holds data; with `erase_data` that too.
    Delete {
        erase_data: bool,
    },
}

impl Work {
    /// To bring the app up, with nothing allowed beyond the usual.
    pub fn apply(app: impl Into<Arc<App>>, target: impl Into<Arc<Target>>, folder: impl Into<PathBuf>) -> Self {
        Self {
            app: app.into(),
            target: target.into(),
            source: "file".to_string(),
            folder: folder.into(),
            wish: Wish::Apply,
            options: PlanOptions::default(),
            only: None,
            no_wait: false,
            generation: None,
        }
    }

    /// For a controller, which keeps the app so.
    pub fn keep(app: impl Into<Arc<App>>, target: impl Into<Arc<Target>>, folder: impl Into<PathBuf>) -> Self {
        Self {
            wish: Wish::Keep,
            options: PlanOptions {
                leave_observed: true,
                ..PlanOptions::default()
            },
            ..Self::apply(app, target, folder)
        }
    }

    /// Under which name the journal keeps it.
    pub fn key(&self) -> AppKey {
        AppKey {
            namespace: self.app.metadata.namespace.clone(),
            app: self.app.metadata.name.clone(),
            target: self.target.metadata.name.clone(),
        }
    }

    /// What the manifests say, as a hash: whoever finds it unchanged need not ask what it means.
    pub fn intent(&self) -> String {
        let text = serde_json::to_string(&(&self.app, &self.target, &self.source));
        hash_of(&["intent", &text.expect("manifests hold only string keys")])
    }

    pub fn is_delete(&self) -> bool {
        matches!(self.wish, Wish::Delete { .. })
    }

    /// The options that planning sees: what the user allows, what the target asks for, and what the wish implies.
    pub fn plan_options(&self) -> PlanOptions {
        let given = PlanOptions {
            ask_always: self.target.spec.approval == Approval::Always,
            ..self.options
        };
        match self.wish {
            Wish::Apply | Wish::Keep => PlanOptions { delete: false, ..given },
            Wish::Again { retry } => PlanOptions {
                delete: false,
                retry,
                ..given
            },
            Wish::Rollback { .. } => PlanOptions {
                delete: false,
                retry: true,
                ..given
            },
            Wish::Delete { erase_data } => PlanOptions {
                delete: true,
                allow_data_loss: erase_data,
                ..given
            },
        }
    }

    pub fn resolve_input<'a>(&'a self, realm: &'a str) -> ResolveInput<'a> {
        ResolveInput {
            app: &self.app,
            target: &self.target,
            realm,
            source: &self.source,
            folder: &self.folder,
        }
    }
}
