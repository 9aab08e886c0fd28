//! One container: the manifest's fields over the image's config.

use super::{Resolver, env};
use crate::desired::{DesiredContainer, DesiredFile, DesiredGpu, DesiredImage, DesiredMount, DesiredResources};
use crate::facts::{ContainerPath, ImageDefaults};
use crate::manifest::{Container, Gpu, Resources};
use crate::reference::ImageReference;

impl Resolver<'_> {
    /// `image` is the container whose image this one runs: itself, or for an init container its service.
    pub(super) fn container(
        &mut self,
        path: &ContainerPath,
        image: &ContainerPath,
        origin: &str,
        container: &Container,
        needs: &env::Needs<'_>,
    ) -> DesiredContainer {
        let pinned = self.facts.images.get(image);
        let defaults = pinned.map(|image| &image.config);
        let reference = pinned
            .map(|image| image.reference.clone())
            .unwrap_or_else(|| self.reference_of(image));
        DesiredContainer {
            image: DesiredImage {
                reference,
                digest: pinned.map(|image| image.digest.clone()),
                env: defaults.map(|defaults| defaults.env.clone()).unwrap_or_default(),
                user: defaults.and_then(|defaults| defaults.user.clone()),
                architecture: defaults.and_then(|defaults| defaults.architecture.clone()),
            },
            argv: defaults.map(|defaults| argv(container, defaults)),
            working_dir: container.working_dir.clone().or_else(|| defaults?.working_dir.clone()),
            user: container.user.clone().or_else(|| defaults?.user.clone()),
            env: self.env(path, origin, container, needs),
            files: container
                .files
                .iter()
                .map(|file| DesiredFile {
                    path: file.path.clone(),
                    content: file.content.clone(),
                })
                .collect(),
            mounts: container
                .volumes
                .iter()
                .map(|mount| DesiredMount {
                    volume: mount.name.clone(),
                    path: mount.path.clone(),
                    read_only: mount.read_only,
                })
                .collect(),
            resources: resources(&container.resources),
        }
    }

    /// The reference of an image that is not pinned yet. Faults of it were reported when the images were asked for.
    fn reference_of(&self, path: &ContainerPath) -> ImageReference {
        let requests = super::image_requests(self.input).unwrap_or_default();
        let source = requests
            .into_iter()
            .find(|(at, _)| at == path)
            .map(|(_, source)| source);
        match source {
            Some(crate::facts::ImageSource::Build(build)) => build.tag,
            Some(crate::facts::ImageSource::Reference(reference)) => reference,
            None => "portolan.local/unknown:latest"
                .parse()
                .expect("the constant is a valid reference"),
        }
    }
}

fn resources(asked: &Resources) -> DesiredResources {
    let gpu = |gpu: &Gpu| DesiredGpu {
        count: gpu.count,
        vendor: gpu.vendor,
        model: gpu.model.clone(),
        memory_bytes: gpu.memory.map(|memory| memory.bytes()),
    };
    DesiredResources {
        cpu_millis: asked.cpu.map(|cpu| cpu.millicores()),
        memory_bytes: asked.memory.map(|memory| memory.bytes()),
        pids: asked.pids.map(u64::from),
        gpu: asked.gpu.as_ref().map(gpu),
    }
}

/// Kubernetes' rule for the four combinations: `command` replaces the entrypoint and drops the image's cmd, `args`
/// replaces the cmd alone.
fn argv(container: &Container, image: &ImageDefaults) -> Vec<String> {
    let (head, tail) = match (&container.command, &container.args) {
        (Some(command), args) => (command, args.clone().unwrap_or_default()),
        (None, Some(args)) => (&image.entrypoint, args.clone()),
        (None, None) => (&image.entrypoint, image.cmd.clone()),
    };
    head.iter().cloned().chain(tail).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_and_args_replace_what_the_image_says() {
        let image = ImageDefaults {
            entrypoint: vec!["/e".into()],
            cmd: vec!["c".into()],
            ..ImageDefaults::default()
        };
        let words = |text: &str| -> Vec<String> { text.split_whitespace().map(String::from).collect() };
        let cases = [
            (None, None, "/e c", "nothing said: the image's"),
            (Some("/x"), None, "/x", "a command drops the image's cmd"),
            (None, Some("a b"), "/e a b", "args replace the cmd alone"),
            (Some("/x"), Some("a"), "/x a", "both: the image says nothing"),
        ];
        for (command, args, expected, reason) in cases {
            let container = Container {
                command: command.map(words),
                args: args.map(words),
                ..Container::default()
            };
            assert_eq!(argv(&container, &image), words(expected), "{reason}");
        }
    }
}
