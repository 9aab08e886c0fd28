//! `portolan push` and `pull`, and `portolan image`: the local image store and registries.

use portolan_core::diagnostic::Diagnostic;
use portolan_core::reference::{Digest, ImageReference};
use portolan_image::import::{ImportOptions, import};
use portolan_image::registry::Platforms;
use portolan_image::store::StoredImage;
use serde::Serialize;

use super::build::reference;
use crate::args::{ImageCommand, ImportArgs, PullArgs, PushArgs, RemoveArgs};
use crate::failure::{CommandResult, Failure, exit};
use crate::image_progress::{TransferProgress, size};
use crate::interrupt;
use crate::output::Output;
use crate::session::{ImageSession, Session};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    image: String,
    digest: String,
    /// Of all its blobs, as they are kept: compressed.
    size_bytes: u64,
}

pub async fn push(arguments: PushArgs, output: Output) -> CommandResult {
    let image = reference(&arguments.image)?;
    let destination = arguments.destination.as_deref().map_or(Ok(image.clone()), reference)?;
    let session = ImageSession::open(output)?;
    let digest = push_to(&session, &image, &destination).await?;
    answer(vec![row(&session, &destination.familiar(), &digest)?], output)
}

/// Sends an image of the store to its registry, or to another one.
pub async fn push_to(
    session: &ImageSession,
    image: &ImageReference,
    destination: &ImageReference,
) -> Result<Digest, Failure> {
    let store = session.images.store();
    let descriptor = store.resolve(image).map_err(|error| failed("find the image", &error))?;
    let descriptor = descriptor.ok_or_else(|| missing(image))?;
    let name = destination.familiar();
    let progress = TransferProgress::new(session.progress.clone(), name.clone());
    let pushing = session
        .images
        .registry()
        .push(store, &descriptor, destination, &progress);
    tokio::select! {
        pushed = pushing => pushed.map_err(|error| failed(&format!("push {name}"), &error))?,
        () = interrupt::interrupted(interrupt::listen()) => return Err(Failure::interrupted()),
    }
    session.progress.clear();
    Ok(descriptor.digest)
}

pub async fn pull(arguments: PullArgs, output: Output) -> CommandResult {
    let image = reference(&arguments.image)?;
    let session = ImageSession::open(output)?;
    let name = image.familiar();
    let progress = TransferProgress::new(session.progress.clone(), name.clone());
    let pulling = session
        .images
        .registry()
        .pull(&image, session.images.store(), Platforms::Host, &progress);
    let pulled = tokio::select! {
        pulled = pulling => pulled.map_err(|error| failed(&format!("pull {name}"), &error))?,
        () = interrupt::interrupted(interrupt::listen()) => return Err(Failure::interrupted()),
    };
    session.progress.clear();
    answer(vec![row(&session, &name, &pulled.descriptor.digest)?], output)
}

pub fn image(command: ImageCommand, output: Output) -> CommandResult {
    match command {
        ImageCommand::Ls => list(output),
        ImageCommand::Import(arguments) => import_image(&arguments, output),
        ImageCommand::Rm(arguments) => remove(&arguments, output),
    }
}

fn list(output: Output) -> CommandResult {
    let session = ImageSession::open(output)?;
    let images = session.images.store().list();
    let images = images.map_err(|error| failed("list images", &error))?;
    answer(rows(&session, &images)?, output)
}

fn import_image(arguments: &ImportArgs, output: Output) -> CommandResult {
    let session = ImageSession::open(output)?;
    let options = ImportOptions {
        name: Some(reference(&arguments.name)?),
        ..ImportOptions::default()
    };
    let imported = import(session.images.store(), &arguments.path, &options);
    let what = format!("import {}", arguments.path.display());
    let images = imported.map_err(|error| failed(&what, &error))?;
    answer(rows(&session, &images)?, output)
}

/// Takes the names away, then what nothing names any more. All of them, or none where one is not there.
fn remove(arguments: &RemoveArgs, output: Output) -> CommandResult {
    let session = Session::open(output)?;
    let store = session.images.store();
    let references = arguments.references.iter().map(|text| reference(text));
    let references = references.collect::<Result<Vec<_>, _>>()?;
    for image in &references {
        let found = store.resolve(image).map_err(|error| failed("find the image", &error))?;
        found.ok_or_else(|| missing(image))?;
    }
    for image in &references {
        store
            .remove(image)
            .map_err(|error| failed(&format!("remove {}", image.familiar()), &error))?;
    }
    let pruned = store
        .prune(&session.roots()?)
        .map_err(|error| failed("remove layers", &error))?;
    let removed = Removed {
        images: references.iter().map(ImageReference::familiar).collect(),
        blobs: pruned.blobs,
        layers: pruned.layers,
        freed_bytes: pruned.blob_bytes,
    };
    output.answer(&removed, || {
        format!(
            "{} removed, {} freed\n",
            removed.images.join(", "),
            size(removed.freed_bytes)
        )
    });
    Ok(exit::DONE)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Removed {
    images: Vec<String>,
    blobs: u64,
    layers: u64,
    freed_bytes: u64,
}

fn rows(session: &ImageSession, images: &[StoredImage]) -> Result<Vec<Row>, Failure> {
    images
        .iter()
        .map(|image| row(session, &image.reference.familiar(), &image.descriptor.digest))
        .collect()
}

fn row(session: &ImageSession, name: &str, digest: &portolan_image::Digest) -> Result<Row, Failure> {
    let manifest = session.images.store().manifest(digest);
    let manifest = manifest.map_err(|error| failed(&format!("read {name}"), &error))?;
    let blobs = manifest.layers.iter().map(|layer| layer.size).sum::<u64>() + manifest.config.size;
    Ok(Row {
        image: name.to_string(),
        digest: digest.to_string(),
        size_bytes: blobs,
    })
}

fn answer(rows: Vec<Row>, output: Output) -> CommandResult {
    let width = rows.iter().map(|row| row.image.len()).max().unwrap_or(0);
    output.answer(&rows, || {
        let line = |row: &Row| format!("{:width$}  {}  {}\n", row.image, row.digest, size(row.size_bytes));
        rows.iter().map(line).collect()
    });
    Ok(exit::DONE)
}

/// A failure of the image crate; `doing` completes "cannot ...".
fn failed(doing: &str, error: &portolan_image::Error) -> Failure {
    Diagnostic::error(error.code(), format!("cannot {doing}"))
        .because_of(error)
        .into()
}

fn missing(image: &ImageReference) -> Failure {
    Failure::new(
        "ImageNotFound",
        format!("the local store has no image {}", image.familiar()),
    )
    .hint("`portolan image ls` lists what it has; `portolan pull` brings one from a registry")
}
