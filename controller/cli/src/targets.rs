//! From a Target to its provider: the one place that names every provider.

use std::sync::Arc;

use portolan_core::manifest::Target;
use portolan_provider_api::Shape;

use crate::failure::Failure;
use crate::manifests::Deployment;

/// The pure half of the provider of a deployment's Target.
pub fn shape(deployment: &Deployment) -> Result<Arc<dyn Shape>, Failure> {
    match deployment.target.spec.provider.as_str() {
        #[cfg(feature = "local")]
        "local" => local(deployment),
        other => Err(unknown(&deployment.target, other)),
    }
}

#[cfg(feature = "local")]
fn local(deployment: &Deployment) -> Result<Arc<dyn Shape>, Failure> {
    let settings = deployment.target.spec.local.clone().unwrap_or_default();
    let address = settings.publish_address.parse().map_err(|_| {
        Failure::new(
            "AddressUnsupported",
            format!("`{}` is no IPv4 address", settings.publish_address),
        )
        .hint("ports are published on IPv4 alone: 127.0.0.1 or 0.0.0.0")
    })?;
    let files = &deployment.target.spec.secrets.files;
    let secret_files = files.iter().map(|file| absolute(&deployment.target_folder.join(file)));
    Ok(portolan_provider_local::shape(
        address,
        secret_files.collect::<Result<_, _>>()?,
    ))
}

/// Env files are read later and from another folder.
#[cfg(feature = "local")]
fn absolute(path: &std::path::Path) -> Result<std::path::PathBuf, Failure> {
    std::path::absolute(path).map_err(|error| {
        Failure::new("SecretFileUnreadable", format!("cannot find {}", path.display())).because(error.to_string())
    })
}

fn unknown(target: &Target, provider: &str) -> Failure {
    Failure::new(
        "ProviderMissing",
        format!("this build of portolan has no provider `{provider}`"),
    )
    .because(format!("the Target `{}` asks for it", target.metadata.name))
}
