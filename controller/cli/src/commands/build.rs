//! `portolan build`: the images of an app, or one Dockerfile.

use std::collections::BTreeMap;

use futures_util::{StreamExt, stream};
use portolan_core::facts::{BuildSource, ContainerPath, ImageSource, PinnedImage};
use portolan_core::reference::ImageReference;
use portolan_core::resolve::{ResolveInput, image_requests};
use portolan_provider_api::{ImageError, Images, PinRequest};
use serde::Serialize;

use crate::args::{BuildArgs, SelectArgs};
use crate::failure::{CommandResult, Failure, exit};
use crate::interrupt;
use crate::manifests::{self, Deployment};
use crate::output::Output;
use crate::session::{self, ImageSession};

/// Builds that run side by side; they share what they have in common.
const AT_ONCE: usize = 4;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Built {
    /// Where in a manifest it stands: `services/web`.
    #[serde(skip_serializing_if = "Option::is_none")]
    container: Option<ContainerPath>,
    image: String,
    digest: String,
}

pub async fn build(arguments: BuildArgs, output: Output) -> CommandResult {
    let work = async {
        match arguments.context {
            Some(_) => build_context(&arguments, output).await,
            None => build_apps(arguments, output).await,
        }
    };
    tokio::select! {
        built = work => {
            let built = built?;
            output.answer(&built, || built.iter().map(human).collect());
            Ok(exit::DONE)
        }
        // A build that is dropped ends its commands and leaves nothing but its cache.
        () = interrupt::interrupted(interrupt::listen()) => Err(Failure::interrupted()),
    }
}

/// Every image that the manifests build, each once.
async fn build_apps(arguments: BuildArgs, output: Output) -> Result<Vec<Built>, Failure> {
    let deployments = manifests::select(&SelectArgs {
        manifests: arguments.manifests,
        apps: Vec::new(),
        target: None,
    })?;
    let images = ImageSession::open(output)?.images;
    let wanted = requests(&deployments)?;
    let pinned: Vec<_> = stream::iter(wanted)
        .map(|(deployment, request)| {
            let images = images.clone();
            async move { (deployment, images.pin(&request).await, request) }
        })
        .buffered(AT_ONCE)
        .collect()
        .await;
    let mut built = Vec::new();
    let mut diagnostics = Vec::new();
    for (deployment, answer, request) in pinned {
        match answer {
            Ok(image) => built.push(told(Some(request.container), &image)),
            Err(error) => diagnostics.extend(session::image_faults(deployment, request.container.as_str(), error)),
        }
    }
    if diagnostics.is_empty() {
        Ok(built)
    } else {
        Err(diagnostics.into())
    }
}

pub fn requests(deployments: &[Deployment]) -> Result<Vec<(&Deployment, PinRequest)>, Failure> {
    let mut wanted = Vec::new();
    for deployment in deployments {
        let input = ResolveInput {
            app: deployment.app(),
            target: &deployment.target,
            // No image depends on what is behind the target.
            realm: "",
            source: "file",
            folder: deployment.document.folder(),
        };
        let faults = |faults: Vec<portolan_core::fault::Fault>| -> Failure {
            let spans = &deployment.document.spans;
            faults
                .iter()
                .map(|fault| spans.diagnostic(fault))
                .collect::<Vec<_>>()
                .into()
        };
        let builds = image_requests(&input).map_err(faults)?.into_iter();
        let builds = builds.filter(|(_, source)| matches!(source, ImageSource::Build(_)));
        wanted.extend(builds.map(|(container, source)| (deployment, PinRequest { container, source })));
    }
    Ok(wanted)
}

async fn build_context(arguments: &BuildArgs, output: Output) -> Result<Vec<Built>, Failure> {
    let source = source_of(arguments)?;
    let images = ImageSession::open(output)?.images;
    let request = PinRequest {
        container: ContainerPath::service("build"),
        source: ImageSource::Build(source),
    };
    let image = images
        .pin(&request)
        .await
        .map_err(|error: ImageError| Failure::from(error))?;
    Ok(vec![told(None, &image)])
}

fn source_of(arguments: &BuildArgs) -> Result<BuildSource, Failure> {
    let context = arguments.context.clone().unwrap_or_default();
    if !context.is_dir() {
        return Err(
            Failure::new("ContextUnreadable", format!("`{}` is no folder", context.display()))
                .hint("name the folder of a Dockerfile; the images of an app are built from its manifest, named by -f"),
        );
    }
    let absolute = std::path::absolute(&context).unwrap_or(context);
    let tag = match &arguments.tag {
        Some(tag) => reference(tag)?,
        None => default_tag(&absolute)?,
    };
    let args = arguments.build_args.iter().map(|text| match text.split_once('=') {
        Some((name, value)) => Ok((name.to_string(), value.to_string())),
        None => Err(Failure::usage(
            "ArgumentInvalid",
            format!("`{text}` is not of the form NAME=VALUE"),
        )),
    });
    Ok(BuildSource {
        context: absolute,
        dockerfile: arguments.dockerfile.clone(),
        target: arguments.stage.clone(),
        args: args.collect::<Result<BTreeMap<_, _>, _>>()?,
        tag,
    })
}

/// The context's folder gives its name to an image that has none.
fn default_tag(context: &std::path::Path) -> Result<ImageReference, Failure> {
    let name = context.file_name().and_then(|name| name.to_str()).unwrap_or("image");
    let text = format!("portolan.local/{}:latest", name.to_lowercase());
    ImageReference::parse(&text).map_err(|_| {
        Failure::usage("ReferenceInvalid", format!("`{name}` cannot be an image's name")).hint("name it with --tag")
    })
}

/// A reference that was typed.
pub fn reference(text: &str) -> Result<ImageReference, Failure> {
    ImageReference::parse(text)
        .map_err(|error| Failure::usage("ReferenceInvalid", format!("`{text}` is no image reference: {error}")))
}

fn told(container: Option<ContainerPath>, image: &PinnedImage) -> Built {
    Built {
        container,
        image: image.reference.familiar(),
        digest: image.digest.to_string(),
    }
}

fn human(built: &Built) -> String {
    format!("{}  {}\n", built.image, built.digest)
}
