//! This crate's errors in the words of the contract: a class for the engine; a code, places, evidence and a hint for
//! the user.

use std::path::Path;

use portolan_core::reference::ImageReference;
use portolan_provider_api::images::Place;
use portolan_provider_api::{ErrorClass, ImageError};

use crate::build::{BuildError, BuildRequest};
use crate::dockerfile::{Fault, Faults};
use crate::error::Error;

/// A failed build. What is wrong with a Dockerfile stands at its lines.
pub(super) fn of_build(request: &BuildRequest, error: &BuildError) -> ImageError {
    let name = request.tags.first().map(ImageReference::familiar).unwrap_or_default();
    let (places, fault_hint) = match error {
        BuildError::Dockerfile(faults) => (
            faults.faults.iter().map(|fault| place_of(faults, fault)).collect(),
            hint_of(faults),
        ),
        BuildError::Step {
            dockerfile, at, source, ..
        } => {
            let place = Place {
                file: dockerfile.clone(),
                line: at.line as usize,
                text: line_of(dockerfile, at.line),
                message: chain(source.as_ref()),
            };
            (vec![place], None)
        }
        _ => (Vec::new(), None),
    };
    ImageError {
        class: class_of(error.class()),
        code: error.code().to_owned(),
        message: format!("cannot build {name}: {}", chain(error)),
        places,
        hint: error.hint().or(fault_hint),
        evidence: error.output().to_vec(),
    }
}

/// A failed look-up in a registry.
pub(super) fn of_pull(reference: &ImageReference, error: &Error) -> ImageError {
    let hint = match error.code() {
        "ImageNotFound" if reference.is_local_only() => Some(format!(
            "no registry has it: `portolan image import --name {}` or `portolan build` puts it into the store",
            reference.familiar()
        )),
        "ImageNotFound" => Some(format!(
            "is the tag right? `portolan push {}` sends an image of the local store there",
            reference.familiar()
        )),
        "RegistryDenied" => Some(format!(
            "`docker login {}` leaves credentials that are used here too",
            reference.registry()
        )),
        "RegistryUnreachable" => {
            Some("an image in the local store needs no registry: `portolan image ls` lists them".to_owned())
        }
        _ => None,
    };
    ImageError {
        hint,
        ..of_image(&format!("get the image {}", reference.familiar()), error)
    }
}

/// Any other failure; `doing` completes "cannot ...".
pub(super) fn of_image(doing: &str, error: &Error) -> ImageError {
    ImageError {
        class: class_of(error.class()),
        code: error.code().to_owned(),
        message: format!("cannot {doing}: {}", chain(error)),
        places: Vec::new(),
        hint: None,
        evidence: Vec::new(),
    }
}

fn class_of(class: crate::ErrorClass) -> ErrorClass {
    match class {
        crate::ErrorClass::Retry(after) => ErrorClass::Retry { after },
        crate::ErrorClass::Denied => ErrorClass::Denied,
        crate::ErrorClass::Quota => ErrorClass::Quota,
        crate::ErrorClass::NotFound | crate::ErrorClass::Invalid => ErrorClass::Invalid,
    }
}

/// With several faults, each says its own hint; a single one leaves it to the error.
fn place_of(faults: &Faults, fault: &Fault) -> Place {
    let nearest = fault.nearest.as_ref().map(|word| format!("; did you mean `{word}`?"));
    let hint = fault
        .hint
        .as_ref()
        .filter(|_| faults.faults.len() > 1)
        .map(|hint| format!(" ({hint})"));
    Place {
        file: faults.path.clone(),
        line: fault.at.line as usize,
        text: fault.snippet.clone(),
        message: [Some(fault.cause.clone()), nearest, hint]
            .into_iter()
            .flatten()
            .collect(),
    }
}

fn hint_of(faults: &Faults) -> Option<String> {
    match faults.faults.as_slice() {
        [fault] => fault.hint.clone(),
        _ => None,
    }
}

/// The line as it is written; what cannot be read any more is left out.
fn line_of(file: &Path, line: u32) -> String {
    let text = std::fs::read(file).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let found = text.lines().nth(line.saturating_sub(1) as usize);
    found.unwrap_or_default().trim_end().chars().take(200).collect()
}

/// What failed, then each cause.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| (*error).source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
