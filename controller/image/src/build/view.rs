//! The root file system of an image as it would look mounted, read without a mount: a stack of unpacked layers, whose
//! whiteouts and opaque directories are obeyed here as overlayfs obeys them.
//!
//! Paths are resolved inside the stack. A symbolic link, absolute or with any number of `..`, leads to another place
//! of the same image and never to the host: each component is looked up by itself, in directories known to be
//! directories, and the layers below the store do not change.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::{self, FileType, Metadata};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Component, Path, PathBuf};

use crate::userns::opaque_xattr;

/// Links followed on one way, as many as the kernel follows.
const MAX_LINKS: usize = 40;

/// A stack of unpacked layers.
#[derive(Debug, Clone, Default)]
pub(super) struct View {
    /// Top first.
    layers: Vec<PathBuf>,
}

/// One place of the stack.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub metadata: Metadata,
    /// Where the bytes lie on the host; for a directory, the topmost of those that merge.
    pub path: PathBuf,
    /// For a directory, all the host's directories that merge into it, top first.
    merged: Vec<PathBuf>,
}

/// The end of a way through the stack.
#[derive(Debug, Clone)]
pub(super) struct Resolved {
    /// From the root, with neither links nor `..` in it.
    pub path: PathBuf,
    /// `None` where nothing is.
    pub node: Option<Node>,
}

impl View {
    /// `layers` are directories, top first.
    pub fn new(layers: Vec<PathBuf>) -> Self {
        Self { layers }
    }

    /// The root directory, unless there is no layer at all.
    pub fn root(&self) -> io::Result<Option<Node>> {
        let Some(top) = self.layers.first() else {
            return Ok(None);
        };
        Ok(Some(Node {
            metadata: fs::symlink_metadata(top)?,
            path: top.clone(),
            merged: self.layers.clone(),
        }))
    }

    /// Follows `path` from the root to its end, through every link.
    pub fn resolve(&self, path: &Path) -> io::Result<Resolved> {
        let mut way = Way {
            trail: self.root()?.into_iter().map(|root| (OsString::new(), root)).collect(),
            links: 0,
        };
        let mut missing = PathBuf::new();
        let mut todo: Vec<OsString> = components(path);
        todo.reverse();
        while let Some(name) = todo.pop() {
            match name.as_bytes() {
                b"/" => {
                    way.trail.truncate(1);
                    missing.clear();
                }
                b".." if !missing.as_os_str().is_empty() => drop(missing.pop()),
                b".." if way.trail.len() > 1 => drop(way.trail.pop()),
                b".." => {}
                _ if !missing.as_os_str().is_empty() || way.trail.is_empty() => missing.push(&name),
                _ => match way.step(&name)? {
                    Step::Missing => missing.push(&name),
                    Step::Entered => {}
                    Step::Link(target) => todo.extend(components(&target).into_iter().rev()),
                },
            }
        }
        let found = missing.as_os_str().is_empty();
        let path: PathBuf = way.trail.iter().skip(1).map(|(name, _)| name.as_os_str()).collect();
        Ok(Resolved {
            path: path.join(&missing),
            node: way.trail.pop().map(|(_, node)| node).filter(|_| found),
        })
    }

    /// Reads the file at `path`, if there is a regular one, and at most `limit` bytes of it.
    pub fn read(&self, path: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> {
        let Some(node) = self.resolve(path)?.node.filter(|node| node.metadata.is_file()) else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        fs::File::open(&node.path)?.take(limit + 1).read_to_end(&mut bytes)?;
        match bytes.len() as u64 > limit {
            true => Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!("it has more than {limit} bytes"),
            )),
            false => Ok(Some(bytes)),
        }
    }
}

impl Node {
    pub fn is_dir(&self) -> bool {
        self.metadata.is_dir()
    }

    /// The child `name` itself, no link followed.
    pub fn child(&self, name: &OsStr) -> io::Result<Option<Node>> {
        let mut found: Option<Node> = None;
        for directory in &self.merged {
            let path = directory.join(name);
            let metadata = match fs::symlink_metadata(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                other => other?,
            };
            let is_dir = metadata.is_dir();
            if is_whiteout(&metadata) || (found.is_some() && !is_dir) {
                break;
            }
            let opaque = is_dir && is_opaque(&path)?;
            let node = found.get_or_insert_with(|| Node {
                metadata,
                path: path.clone(),
                merged: Vec::new(),
            });
            if !is_dir {
                break;
            }
            node.merged.push(path);
            if opaque {
                break;
            }
        }
        Ok(found)
    }

    /// The names in this directory, sorted by their bytes.
    pub fn names(&self) -> io::Result<Vec<OsString>> {
        let mut names = BTreeSet::new();
        for directory in &self.merged {
            for entry in fs::read_dir(directory)? {
                names.insert(entry?.file_name());
            }
        }
        let visible = |name: &OsString| self.child(name).map(|child| child.is_some());
        let mut kept = Vec::new();
        for name in names {
            if visible(&name)? {
                kept.push(name);
            }
        }
        Ok(kept)
    }
}

/// The directories from the root to here.
struct Way {
    trail: Vec<(OsString, Node)>,
    links: usize,
}

enum Step {
    Missing,
    Entered,
    Link(PathBuf),
}

impl Way {
    fn step(&mut self, name: &OsStr) -> io::Result<Step> {
        let (_, here) = self.trail.last().expect("the root is never left");
        if !here.is_dir() {
            return Err(io::Error::from(io::ErrorKind::NotADirectory));
        }
        let Some(child) = here.child(name)? else {
            return Ok(Step::Missing);
        };
        if !child.metadata.is_symlink() {
            self.trail.push((name.to_owned(), child));
            return Ok(Step::Entered);
        }
        self.links += 1;
        if self.links > MAX_LINKS {
            return Err(io::Error::from(rustix::io::Errno::LOOP));
        }
        fs::read_link(&child.path).map(Step::Link)
    }
}

/// The parts of a path; an absolute one begins with `/`.
fn components(path: &Path) -> Vec<OsString> {
    let part = |component: Component| match component {
        Component::RootDir => Some(OsString::from("/")),
        Component::ParentDir => Some(OsString::from("..")),
        Component::Normal(name) => Some(name.to_owned()),
        Component::CurDir | Component::Prefix(_) => None,
    };
    path.components().filter_map(part).collect()
}

fn is_whiteout(metadata: &Metadata) -> bool {
    FileType::is_char_device(&metadata.file_type()) && metadata.rdev() == 0
}

fn is_opaque(path: &Path) -> io::Result<bool> {
    let mut value = [0; 2];
    match rustix::fs::lgetxattr(path, opaque_xattr(), &mut value[..]) {
        Ok(length) => Ok(&value[..length] == b"y"),
        Err(rustix::io::Errno::NODATA | rustix::io::Errno::OPNOTSUPP) => Ok(false),
        Err(rustix::io::Errno::RANGE) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn write(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn whiteout(path: &Path) {
        use rustix::fs::{CWD, Dev, FileType, Mode};
        rustix::fs::mknodat(CWD, path, FileType::CharacterDevice, Mode::empty(), Dev::default()).unwrap();
    }

    #[test]
    fn layers_merge_as_overlayfs_merges_them() {
        let top = tempfile::tempdir().unwrap();
        let below = tempfile::tempdir().unwrap();
        for (path, text) in [
            ("a/one", "below"),
            ("a/two", "below"),
            ("b/gone", ""),
            ("c/hidden", ""),
            ("d", "file"),
        ] {
            write(below.path(), path, text);
        }
        write(top.path(), "a/one", "top");
        write(top.path(), "c/new", "");
        write(top.path(), "d/now-a-directory", "");
        fs::create_dir(top.path().join("b")).unwrap();
        whiteout(&top.path().join("b/gone"));
        let flags = rustix::fs::XattrFlags::empty();
        rustix::fs::setxattr(top.path().join("c"), "trusted.overlay.opaque", b"y", flags).unwrap();
        let view = View::new(vec![top.path().into(), below.path().into()]);
        let read = |path: &str| {
            view.read(Path::new(path), 100)
                .unwrap()
                .map(|bytes| String::from_utf8(bytes).unwrap())
        };
        assert_eq!(read("/a/one").as_deref(), Some("top"), "the upper file wins");
        assert_eq!(read("a/two").as_deref(), Some("below"), "directories merge");
        assert_eq!(read("/b/gone"), None, "a whiteout hides");
        assert_eq!(read("/c/hidden"), None, "an opaque directory hides what is below");
        let names = |path: &str| view.resolve(Path::new(path)).unwrap().node.unwrap().names().unwrap();
        assert_eq!(names("/a"), ["one", "two"]);
        assert_eq!(names("/b"), [] as [&str; 0]);
        assert_eq!(names("/c"), ["new"]);
        assert_eq!(
            names("/d"),
            ["now-a-directory"],
            "a directory over a file merges with nothing"
        );
    }

    #[test]
    fn no_link_leads_out() {
        let layer = tempfile::tempdir().unwrap();
        write(layer.path(), "etc/passwd", "inside");
        let links = [
            ("up", "../../../../etc"),
            ("abs", "/etc"),
            ("loop", "loop"),
            ("fresh", "/made/later"),
        ];
        for (name, target) in links {
            symlink(target, layer.path().join(name)).unwrap();
        }
        let view = View::new(vec![layer.path().into()]);
        for path in [
            "/up/passwd",
            "/abs/passwd",
            "../../etc/passwd",
            "/etc/../../etc/passwd",
            "/none/../etc/passwd",
        ] {
            assert_eq!(
                view.read(Path::new(path), 100).unwrap().as_deref(),
                Some(&b"inside"[..]),
                "{path}"
            );
        }
        assert!(view.resolve(Path::new("/loop")).is_err());
        assert!(view.resolve(Path::new("/etc/passwd/x")).is_err(), "through a file");
        let fresh = view.resolve(Path::new("/fresh/x")).unwrap();
        assert_eq!(
            (fresh.path, fresh.node.is_none()),
            (PathBuf::from("made/later/x"), true)
        );
        assert!(view.read(Path::new("/etc/passwd"), 3).is_err(), "larger than the limit");
        let empty = View::default().resolve(Path::new("/a/../b")).unwrap();
        assert_eq!((empty.path, empty.node.is_none()), (PathBuf::from("b"), true));
    }
}
