//! `portolan render`: what a target is given, and the App itself as an object for a cluster.

use futures_util::{StreamExt, TryStreamExt, stream};
use portolan_core::capability::Degraded;
use portolan_core::diagnostic::Diagnostic;
use portolan_core::facts::PinnedImage;
use portolan_core::plan::PlanOptions;
use portolan_core::reference::ImageReference;
use portolan_engine::Wish;
use portolan_provider_api::Images;
use serde_json::{Value, json};

use super::build::{reference, requests};
use super::image::push_to;
use crate::args::RenderArgs;
use crate::failure::{CommandResult, Failure, exit};
use crate::manifests::{self, Deployment};
use crate::output::{Output, yaml};
use crate::session::{self, AT_ONCE, Deployed, ImageSession, Session};

pub async fn render(arguments: RenderArgs, output: Output) -> CommandResult {
    let documents = match arguments.app {
        true => apps(&arguments, output).await?,
        false => natively(&arguments, output).await?,
    };
    output.answer(&documents, || {
        documents.iter().map(|one| format!("---\n{}", yaml(one))).collect()
    });
    Ok(exit::DONE)
}

/// It builds nothing and looks at no target: what is not pinned yet stays open. Whose account or cluster it is, which is in what is
/// given there, is asked where the Target does not say it.
async fn natively(arguments: &RenderArgs, output: Output) -> Result<Vec<Value>, Failure> {
    let session = Session::open(output)?;
    let deployed = session.deployed_all(manifests::select(&arguments.select)?)?;
    let of_one = |deployed| of_target(&session, deployed);
    let all: Vec<(Vec<Value>, Vec<Diagnostic>)> = stream::iter(&deployed)
        .map(of_one)
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    let (documents, warnings): (Vec<_>, Vec<_>) = all.into_iter().unzip();
    output.diagnostics(&warnings.concat());
    Ok(documents.concat())
}

/// What it is given, and what of that is otherwise than the manifest says.
async fn of_target(session: &Session, deployed: &Deployed) -> Result<(Vec<Value>, Vec<Diagnostic>), Failure> {
    let work = deployed.work(Wish::Apply, PlanOptions::default());
    let rendering = session.engine.rendering(&deployed.provider, &work).await;
    let rendering = rendering.map_err(|error| deployed.failure(error))?;
    let resources = rendering.resources.values();
    let shape = &deployed.provider.shape;
    let documents = resources.map(|resource| shape.document(&rendering.scope, resource));
    let spans = &deployed.deployment.document.spans;
    let warning = |one: &Degraded| {
        let location = spans.locate(&one.pointer);
        Diagnostic::warning("FieldDegraded", one.because.clone()).at(location)
    };
    Ok((documents.collect(), rendering.degraded.iter().map(warning).collect()))
}

/// Each App for one target: an object has one name, and its overrides are said.
async fn apps(arguments: &RenderArgs, output: Output) -> Result<Vec<Value>, Failure> {
    let deployments = manifests::select_for_change(&arguments.select)?;
    let mut documents: Vec<Value> = deployments.iter().map(object_of).collect();
    let builds = requests(&deployments)?;
    let Some(repository) = &arguments.push else {
        return match builds.first() {
            None => Ok(documents),
            Some((deployment, request)) => Err(not_pushed(deployment, request.container.as_str())),
        };
    };
    let images = ImageSession::open(output)?;
    for (deployment, request) in builds {
        let built = images.images.pin(&request).await;
        let container = request.container.as_str();
        let built = built.map_err(|error| Failure::from(session::image_faults(deployment, container, error)))?;
        let pushed = pushed(&images, &built, repository, container).await?;
        let place = deployments.iter().position(|one| std::ptr::eq(one, deployment));
        let found = place.and_then(|place| documents[place].pointer_mut(&format!("/spec/{container}")));
        if let Some(Value::Object(container)) = found {
            container.remove("build");
            container.insert("image".to_string(), json!(pushed));
            // A controller that reads no image does not know whom volumes shall belong to.
            if let (None, Some(user)) = (container.get("user"), &built.config.user) {
                container.insert("user".to_string(), json!(user));
            }
        }
    }
    Ok(documents)
}

fn object_of(deployment: &Deployment) -> Value {
    let mut object = deployment.document.value();
    object["metadata"]["namespace"] = json!(deployment.app().metadata.namespace);
    object["spec"]["targets"] = json!([deployment.target.metadata.name]);
    object
}

/// Its reference by digest. The tag keeps a registry from taking it for rubbish.
async fn pushed(
    session: &ImageSession,
    built: &PinnedImage,
    repository: &str,
    container: &str,
) -> Result<String, Failure> {
    let digest = built.digest.to_string();
    let tag: String = digest.trim_start_matches("sha256:").chars().take(12).collect();
    let name = format!("{}/{container}", repository.trim_end_matches('/'));
    let destination: ImageReference = reference(&format!("{name}:{tag}"))?;
    push_to(session, &built.reference, &destination).await?;
    Ok(format!("{name}@{digest}"))
}

fn not_pushed(deployment: &Deployment, container: &str) -> Failure {
    let message = format!("`{container}` is built, and no cluster builds");
    let spans = &deployment.document.spans;
    let diagnostic = Diagnostic::error("BuildNotPushed", message)
        .at(spans.locate(&format!("/spec/{container}/build")))
        .hint("--push REPOSITORY builds it, pushes it there and names it by its digest");
    diagnostic.into()
}
