//! What all runs on one platform share, made once.

use std::sync::Arc;
use std::time::Duration;

use portolan_core::plan::Scope;
use portolan_core::resolve::scope_of;
use portolan_provider_api::Shape;
use portolan_provider_fake::platform::{PLATFORMS, Platform, SMALL_QUOTA};
use portolan_provider_fake::{FakeShape, Rules};

use super::catalogue::{APPS, Catalogue, REALMS, VERSIONS};
use super::fault::{FAULTS, Fault};
use super::local::{self, LOCAL};
use super::site::{SITES, Site};

pub struct Stand {
    pub rules: Rules,
    /// Whether it is this machine.
    pub is_local: bool,
    shape: Native,
    pub catalogue: Catalogue,
    /// By account and app.
    pub scopes: Vec<Vec<Scope>>,
    possible: Vec<Vec<Fault>>,
}

enum Native {
    Fake(FakeShape),
    Local(Arc<dyn Shape>),
}

/// The stands of all platforms.
pub struct Stands(Vec<(&'static str, Stand)>);

impl Default for Stands {
    fn default() -> Self {
        let platforms = PLATFORMS.into_iter().chain([&SMALL_QUOTA, &LOCAL]);
        Self(platforms.map(|platform| (platform.name, Stand::of(platform))).collect())
    }
}

impl Stands {
    pub fn of(&self, platform: &Platform) -> &Stand {
        let found = self.0.iter().find(|(name, _)| *name == platform.name);
        &found.expect("every platform has its stand").1
    }
}

impl Stand {
    fn of(platform: &Platform) -> Self {
        let is_local = local::is_this(platform);
        let shape = match is_local {
            true => Native::Local(local::shape()),
            false => Native::Fake(FakeShape::of(platform)),
        };
        let catalogue = match &shape {
            Native::Local(shape) => Catalogue::of(shape.as_ref()),
            Native::Fake(shape) => Catalogue::of(shape),
        };
        let scope = |app, realm| scope_of(&catalogue.get(app, VERSIONS[0]).work.resolve_input(realm));
        let scopes = REALMS.map(|realm| (0..APPS).map(|app| scope(app, realm)).collect());
        let rules = Rules::of(platform);
        let mut possible = vec![Vec::new(); SITES];
        for site in Site::all() {
            let fits = |fault: &Fault| fault.can_strike(site, platform, &rules);
            possible[site.index()] = FAULTS.into_iter().filter(fits).collect();
        }
        Self {
            scopes: scopes.into(),
            rules,
            is_local,
            shape,
            catalogue,
            possible,
        }
    }

    /// For a platform whose reads lag so long, if it is one whose reads do.
    pub fn shape(&self, lag_ms: u64) -> Arc<dyn Shape> {
        match &self.shape {
            Native::Fake(shape) => Arc::new(shape.clone().with_read_lag(Duration::from_millis(lag_ms))),
            Native::Local(shape) => shape.clone(),
        }
    }

    /// The faults that can strike there.
    pub fn possible(&self, site: Site) -> &[Fault] {
        &self.possible[site.index()]
    }

    pub fn can_meet(&self, fault: Fault, site: Site) -> bool {
        self.possible(site).contains(&fault)
    }
}
