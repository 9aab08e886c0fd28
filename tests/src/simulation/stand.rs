//! What all runs on one platform share, made once.

use std::sync::Arc;
use std::time::Duration;

use portolan_core::plan::Scope;
use portolan_core::resolve::scope_of;
use portolan_provider_api::Shape;
use portolan_provider_fake::platform::{PLATFORMS, Platform, SMALL_QUOTA};
use portolan_provider_fake::{FakeShape, Rules};

use super::catalogue::{APPS, Catalogue, REALMS, VERSIONS};
use super::fault::{FAULTS, Fault, exclusion};
use super::site::{SITES, Site};

pub struct Stand {
    pub rules: Rules,
    shape: FakeShape,
    pub catalogue: Catalogue,
    /// By account and app.
    pub scopes: Vec<Vec<Scope>>,
    possible: Vec<Vec<Fault>>,
}

/// The stands of all platforms.
pub struct Stands(Vec<(&'static str, Stand)>);

impl Default for Stands {
    fn default() -> Self {
        let platforms = PLATFORMS.into_iter().chain([&SMALL_QUOTA]);
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
        let shape = FakeShape::of(platform);
        let catalogue = Catalogue::of(&shape);
        let scope = |app, realm| scope_of(&catalogue.get(app, VERSIONS[0]).work.resolve_input(realm));
        let scopes = REALMS.map(|realm| (0..APPS).map(|app| scope(app, realm)).collect());
        let rules = Rules::of(platform);
        let mut possible = vec![Vec::new(); SITES];
        for site in Site::all() {
            let fits = |fault: &Fault| exclusion(*fault, site).is_none() && fault.fits(site, &rules);
            possible[site.index()] = FAULTS.into_iter().filter(fits).collect();
        }
        Self {
            scopes: scopes.into(),
            rules,
            shape,
            catalogue,
            possible,
        }
    }

    /// For a platform whose reads lag so long.
    pub fn shape(&self, lag_ms: u64) -> Arc<dyn Shape> {
        Arc::new(self.shape.clone().with_read_lag(Duration::from_millis(lag_ms)))
    }

    /// The faults that can strike there.
    pub fn possible(&self, site: Site) -> &[Fault] {
        &self.possible[site.index()]
    }
}
