//! COPY, ADD and WORKDIR: from the words of the instruction to the tree that the layer will hold. Sources come from
//! the context, from another stage or image, from an unpacked archive or from the Dockerfile itself; all of them
//! become the same members before anything is placed.

use std::ffi::OsString;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::context::{Context, Found, FoundKind, sha256_of};
use super::error::StepError;
use super::tree::{Content, Entry, Kind, Origin, Owner, Tree, attributes};
use super::view::{Node, View};
use super::workspace::Stop;
use crate::dockerfile::glob;

/// One source with all that is below it.
#[derive(Debug)]
pub(super) struct Gathered {
    /// Its last component, as it was named.
    pub name: OsString,
    /// Relative to the source, which itself comes first with an empty path; parents before children.
    pub members: Vec<(PathBuf, Entry)>,
}

/// How members are placed.
#[derive(Debug)]
pub(super) struct Placing<'a> {
    /// The image so far.
    pub view: &'a View,
    /// `--chown`; `None` keeps the members' owners.
    pub owner: Option<Owner>,
    /// `--chmod`; `None` keeps the members' modes.
    pub mode: Option<u32>,
    /// Absolute, as written: a slash at the end matters.
    pub destination: String,
}

/// What the source `pattern` of the context names.
pub(super) fn gather_context(context: &Context, pattern: &str, stop: &Stop) -> Result<Vec<Gathered>, StepError> {
    let found = context.find(pattern)?;
    if found.is_empty() && !glob::is_pattern(pattern) {
        let nearest = || context.nearest(pattern).map(|name| format!("did you mean `{name}`?"));
        let hint = context.hidden_by(pattern).or_else(nearest);
        let place = "the build context".to_owned();
        return Err(StepError::SourceMissing {
            source_path: pattern.to_owned(),
            place,
            hint,
        });
    }
    let gather = |(name, top): (PathBuf, Found)| {
        let mut members = vec![(PathBuf::new(), context_entry(context, &top)?)];
        if top.kind == FoundKind::Directory {
            for found in context.walk(&top.path, stop)? {
                stop.check()?;
                let relative = found.path.strip_prefix(&top.path).unwrap_or(&found.path).to_owned();
                members.push((relative, context_entry(context, &found)?));
            }
        }
        Ok(Gathered {
            name: name.file_name().unwrap_or_default().to_owned(),
            members,
        })
    };
    found.into_iter().map(gather).collect()
}

/// What the source `pattern` names in the image `from`, called `place` in messages. Owners stay as they are there.
pub(super) fn gather_view(from: &View, pattern: &str, place: &str, stop: &Stop) -> Result<Vec<Gathered>, StepError> {
    let mut named = vec![PathBuf::new()];
    for part in pattern.split('/').filter(|part| !matches!(*part, "" | ".")) {
        let mut next = Vec::new();
        for path in named {
            match glob::is_pattern(part) {
                true => next.extend(matching(from, &path, part)?),
                false => next.push(path.join(part)),
            }
        }
        named = next;
    }
    let mut gathered = Vec::new();
    for name in named {
        let resolved = from
            .resolve(&name)
            .map_err(StepError::rootfs(format!("/{}", name.display())))?;
        let node = match resolved.node {
            Some(node) => node,
            None if name.as_os_str().is_empty() => continue,
            None => {
                let source_path = format!("/{}", name.display());
                return Err(StepError::SourceMissing {
                    source_path,
                    place: place.to_owned(),
                    hint: None,
                });
            }
        };
        let mut members = Vec::new();
        gather_node(&node, PathBuf::new(), &mut members, stop)?;
        gathered.push(Gathered {
            name: name.file_name().unwrap_or_default().to_owned(),
            members,
        });
    }
    Ok(gathered)
}

/// A file whose text stands in the Dockerfile.
pub(super) fn gather_inline(name: &str, text: String) -> Gathered {
    let bytes = text.into_bytes();
    let content = Content {
        sha256: Sha256::digest(&bytes).into(),
        size: bytes.len() as u64,
        origin: Origin::Inline(bytes),
    };
    let entry = Entry {
        kind: Kind::File(content),
        mode: 0o644,
        uid: 0,
        gid: 0,
        xattrs: Vec::new(),
    };
    Gathered {
        name: name.into(),
        members: vec![(PathBuf::new(), entry)],
    }
}

/// Places `sources` into a tree, as COPY places them: the content of a directory goes into the destination; a file
/// goes into a destination that is a directory or is written with a slash, else it becomes the destination.
pub(super) fn place(sources: Vec<Gathered>, placing: &Placing<'_>) -> Result<Tree, StepError> {
    let Placing { view, destination, .. } = placing;
    let resolved = view
        .resolve(Path::new(destination))
        .map_err(StepError::rootfs(destination.clone()))?;
    let is_directory = resolved.node.as_ref().is_some_and(Node::is_dir);
    let as_directory = is_directory || destination.ends_with('/') || resolved.path.as_os_str().is_empty();
    if sources.len() > 1 && !as_directory {
        return Err(StepError::Invalid {
            cause: format!("several sources go into a directory, and {destination} is not written as one"),
            hint: Some(format!("end it with a slash: {destination}/")),
        });
    }
    let owner = placing.owner.unwrap_or_default();
    let mut tree = Tree::default();
    for source in sources {
        let from_directory = source
            .members
            .first()
            .is_some_and(|(_, entry)| entry.kind == Kind::Directory);
        let target = match as_directory && !from_directory {
            true => resolved.path.join(&source.name),
            false => resolved.path.clone(),
        };
        for (relative, entry) in source.members {
            let entry = placing.settle(entry);
            match relative.as_os_str().is_empty() {
                // The destination of a directory keeps what it is, where it is there already.
                true if from_directory && is_directory => tree.ensure_directory(&target, view, owner)?,
                true => tree.put(&target, entry, view, owner)?,
                false => tree.put(&target.join(relative), entry, view, owner)?,
            }
        }
    }
    Ok(tree)
}

/// The tree that makes the working directory `path`, for `owner`; empty when the image has it.
pub(super) fn working_dir(path: &str, view: &View, owner: Owner) -> Result<Tree, StepError> {
    let resolved = view.resolve(Path::new(path)).map_err(StepError::rootfs(path))?;
    let mut tree = Tree::default();
    match resolved.node {
        Some(node) if node.is_dir() => {}
        Some(_) => {
            return Err(StepError::invalid(format!(
                "the working directory {path} is no directory of the image"
            )));
        }
        None => tree.ensure_directory(&resolved.path, view, owner)?,
    }
    Ok(tree)
}

impl Placing<'_> {
    fn settle(&self, mut entry: Entry) -> Entry {
        if let Some(owner) = self.owner {
            (entry.uid, entry.gid) = (owner.uid, owner.gid);
        }
        if let (Some(mode), false) = (self.mode, matches!(entry.kind, Kind::Symlink(_))) {
            entry.mode = mode;
        }
        entry
    }
}

/// A member from the context belongs to root, whoever has it on the host.
fn context_entry(context: &Context, found: &Found) -> Result<Entry, StepError> {
    let kind = match &found.kind {
        FoundKind::Directory => Kind::Directory,
        FoundKind::Symlink(target) => Kind::Symlink(target.clone()),
        FoundKind::Special(kind) => {
            return Err(StepError::SpecialFile {
                path: found.path.clone(),
                kind,
            });
        }
        FoundKind::File => {
            let sha256 = context.sha256(found)?;
            let origin = Origin::Context {
                path: found.path.clone(),
                stamp: found.stamp,
            };
            Kind::File(Content {
                origin,
                sha256,
                size: found.stamp.size,
            })
        }
    };
    let mode = if matches!(kind, Kind::Symlink(_)) {
        0o777
    } else {
        found.mode
    };
    Ok(Entry {
        kind,
        mode,
        uid: 0,
        gid: 0,
        xattrs: Vec::new(),
    })
}

fn matching(from: &View, parent: &Path, pattern: &str) -> Result<Vec<PathBuf>, StepError> {
    let failed = || StepError::rootfs(format!("/{}", parent.display()));
    let Some(directory) = from.resolve(parent).map_err(failed())?.node.filter(Node::is_dir) else {
        return Ok(Vec::new());
    };
    let mut matching = Vec::new();
    for name in directory.names().map_err(failed())? {
        let matches = glob::matches_component(pattern, &name.to_string_lossy());
        if matches.map_err(|_| StepError::invalid(format!("{pattern} is no valid pattern")))? {
            matching.push(parent.join(name));
        }
    }
    Ok(matching)
}

fn gather_node(node: &Node, at: PathBuf, members: &mut Vec<(PathBuf, Entry)>, stop: &Stop) -> Result<(), StepError> {
    stop.check()?;
    let failed = || StepError::file("read", &node.path);
    members.push((at.clone(), node_entry(node).map_err(failed())?));
    if node.is_dir() {
        for name in node.names().map_err(failed())? {
            let child = node.child(&name).map_err(failed())?;
            if let Some(child) = child {
                gather_node(&child, at.join(name), members, stop)?;
            }
        }
    }
    Ok(())
}

fn node_entry(node: &Node) -> io::Result<Entry> {
    let metadata = &node.metadata;
    let kind = match metadata.file_type() {
        kind if kind.is_dir() => Kind::Directory,
        kind if kind.is_symlink() => Kind::Symlink(std::os::unix::ffi::OsStringExt::into_vec(
            std::fs::read_link(&node.path)?.into_os_string(),
        )),
        kind if kind.is_file() => {
            let sha256 = sha256_of(&mut std::fs::File::open(&node.path)?)?;
            let links = (metadata.nlink() > 1).then(|| (metadata.dev(), metadata.ino()));
            Kind::File(Content {
                origin: Origin::Layer {
                    path: node.path.clone(),
                    links,
                },
                sha256,
                size: metadata.size(),
            })
        }
        _ => return Err(io::Error::other("a device, pipe or socket cannot be copied")),
    };
    let xattrs = attributes(&node.path)?;
    Ok(Entry {
        kind,
        mode: metadata.mode() & 0o7777,
        uid: metadata.uid(),
        gid: metadata.gid(),
        xattrs,
    })
}
