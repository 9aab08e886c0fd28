//! One COPY or ADD: its words expanded, its sources gathered, its layer found in the cache or made.

use std::path::{Path, PathBuf};

use super::archive;
use super::cache::{Key, Record};
use super::context::FoundKind;
use super::copy::{self, Gathered, Placing};
use super::error::StepError;
use super::layers::Shared;
use super::state::{Layer, State};
use super::tree::Tree;
use super::users;
use super::view::View;
use crate::dockerfile::{self, CopyKind, Source, is_remote, leads_out, values};
use crate::store::Digest;

/// A root file system to copy from.
#[derive(Debug)]
pub(super) struct Elsewhere {
    pub layers: Vec<Layer>,
    pub base: Option<Digest>,
    /// For messages: `the stage build`.
    pub place: String,
}

/// A COPY or ADD whose variables are replaced.
#[derive(Debug)]
pub(super) struct Transfer {
    kind: CopyKind,
    sources: Vec<Expanded>,
    /// Absolute; a slash at the end is kept.
    destination: String,
    chown: Option<String>,
    mode: Option<u32>,
    from: Option<Elsewhere>,
    layers: Vec<Layer>,
    base: Option<Digest>,
    chain: String,
}

#[derive(Debug)]
enum Expanded {
    Path(String),
    Inline { name: String, text: String },
}

/// What is to be done.
pub(super) enum Planned {
    /// The cache has it.
    Known(Record),
    New(New),
}

/// A layer to be made.
pub(super) struct New {
    tree: Tree,
    /// The record goes under each of them.
    keys: Vec<Key>,
}

impl Transfer {
    pub fn new(state: &State, copy: &dockerfile::Copy, from: Option<Elsewhere>) -> Result<Self, StepError> {
        let expand = |text: &Option<dockerfile::Text>| text.as_ref().map(|text| state.expand(text)).transpose();
        let mode = expand(&copy.chmod)?
            .map(|mode| values::parse_mode(&mode).map_err(StepError::invalid))
            .transpose()?;
        let source = |source: &Source| match source {
            Source::Path(text) => path(state.expand(text)?, copy.kind, from.is_some()).map(Expanded::Path),
            Source::Inline(heredoc) => {
                let text = if heredoc.expand {
                    state.scope.expand_body(&heredoc.body)?
                } else {
                    heredoc.body.clone()
                };
                Ok(Expanded::Inline {
                    name: heredoc.name.clone(),
                    text,
                })
            }
        };
        let written = state.expand(&copy.destination)?;
        if written.is_empty() {
            return Err(StepError::invalid(
                "the destination is empty once its variables are replaced",
            ));
        }
        let names_directory = written.ends_with('/') || matches!(written.rsplit('/').next(), Some("." | ".."));
        let absolute = state.absolute(&written);
        Ok(Self {
            kind: copy.kind,
            sources: copy.sources.iter().map(source).collect::<Result<_, _>>()?,
            destination: if names_directory && absolute != "/" {
                absolute + "/"
            } else {
                absolute
            },
            chown: expand(&copy.chown)?,
            mode,
            from,
            layers: state.layers.clone(),
            base: state.base.clone(),
            chain: state.chain_id(),
        })
    }

    /// Gathers the sources and asks the cache: first, where the sources are an image's, by the identities of the
    /// images and the words alone; then by the tree itself.
    pub fn plan(self, shared: &Shared) -> Result<Planned, StepError> {
        let mut keys = Vec::new();
        if let Some(from) = &self.from {
            let chain = super::cache::chain_id(from.layers.iter().map(|layer| &layer.diff_id));
            let key = self.with_words(shared.key("copy from").with(&self.chain).with(chain));
            if let Some(record) = shared.cache.get(&key) {
                return Ok(Planned::Known(record));
            }
            keys.push(key);
        }
        let view = shared.view(&self.layers, self.base.as_ref())?;
        let mut tree = self.place(&view, self.gather(shared)?)?;
        if self.kind == CopyKind::Add {
            let key = shared.key("add").with(&self.chain).with(tree.sha256());
            if let Some(record) = shared.cache.get(&key) {
                return Ok(Planned::Known(record));
            }
            keys.push(key);
            tree = self.place(&view, self.gather_unpacked(shared)?)?;
        }
        let key = shared.key("tree").with(tree.sha256());
        match shared.cache.get(&key) {
            Some(record) => {
                keys.iter().for_each(|other| shared.cache.put(other, &record));
                Ok(Planned::Known(record))
            }
            None => {
                keys.push(key);
                Ok(Planned::New(New { tree, keys }))
            }
        }
    }

    fn with_words(&self, key: Key) -> Key {
        let key = key
            .with(&self.destination)
            .with(format!("{:?} {:?}", self.chown, self.mode));
        self.sources.iter().fold(key, |key, source| match source {
            Expanded::Path(path) => key.with("path").with(path),
            Expanded::Inline { name, text } => key.with("inline").with(name).with(text),
        })
    }

    fn place(&self, view: &View, sources: Vec<Gathered>) -> Result<Tree, StepError> {
        if sources.is_empty() {
            let patterns = self.sources.iter().filter_map(|source| match source {
                Expanded::Path(path) => Some(path.as_str()),
                Expanded::Inline { .. } => None,
            });
            let place = self
                .from
                .as_ref()
                .map_or("the build context".to_owned(), |from| from.place.clone());
            let source_path = patterns.collect::<Vec<_>>().join(" ");
            return Err(StepError::SourceMissing {
                source_path,
                place,
                hint: Some("nothing matches".into()),
            });
        }
        let owner = self.chown.as_ref().map(|chown| users::owner(chown, view)).transpose()?;
        copy::place(
            sources,
            &Placing {
                view,
                owner,
                mode: self.mode,
                destination: self.destination.clone(),
            },
        )
    }

    fn gather(&self, shared: &Shared) -> Result<Vec<Gathered>, StepError> {
        let open = |from: &Elsewhere| shared.view(&from.layers, from.base.as_ref());
        let view = self.from.as_ref().map(open).transpose()?;
        let place = self.from.as_ref().map_or("", |from| &from.place);
        let mut gathered = Vec::new();
        for source in &self.sources {
            match (source, &view) {
                (Expanded::Inline { name, text }, _) => gathered.push(copy::gather_inline(name, text.clone())),
                (Expanded::Path(path), Some(view)) => {
                    gathered.extend(copy::gather_view(view, path, place, &shared.stop)?);
                }
                (Expanded::Path(path), None) => {
                    gathered.extend(copy::gather_context(&shared.context, path, &shared.stop)?);
                }
            }
        }
        Ok(gathered)
    }

    /// As [`Self::gather`], with the content of archives in their place.
    fn gather_unpacked(&self, shared: &Shared) -> Result<Vec<Gathered>, StepError> {
        let mut gathered = Vec::new();
        for source in &self.sources {
            let Expanded::Path(pattern) = source else {
                continue;
            };
            let plain = copy::gather_context(&shared.context, pattern, &shared.stop)?;
            for ((_, found), plain) in shared.context.find(pattern)?.into_iter().zip(plain) {
                let unpacked = match found.kind {
                    FoundKind::File => self.unpack(shared, &found.path)?,
                    _ => None,
                };
                gathered.push(unpacked.unwrap_or(plain));
            }
        }
        let inline = self.sources.iter().filter_map(|source| match source {
            Expanded::Inline { name, text } => Some(copy::gather_inline(name, text.clone())),
            Expanded::Path(_) => None,
        });
        gathered.extend(inline);
        Ok(gathered)
    }

    fn unpack(&self, shared: &Shared, path: &Path) -> Result<Option<Gathered>, StepError> {
        use std::os::unix::fs::PermissionsExt;
        let mut file = shared.context.open_file(path)?;
        let Some(compression) = archive::compression_of(&mut file, path)? else {
            return Ok(None);
        };
        let folder: PathBuf = shared.workspace()?.step("archive")?;
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755))
            .map_err(StepError::file("make the folder", &folder))?;
        archive::extract(file, compression, &folder)?;
        let place = path.display().to_string();
        Ok(copy::gather_view(&View::new(vec![folder]), "", &place, &shared.stop)?.pop())
    }
}

impl New {
    pub fn make(self, shared: &Shared) -> Result<Record, StepError> {
        let record = shared.make_layer(&self.tree)?;
        for key in &self.keys {
            shared.cache.put(key, &record);
        }
        Ok(record)
    }
}

/// A source, once its variables are known.
fn path(path: String, kind: CopyKind, elsewhere: bool) -> Result<String, StepError> {
    match () {
        () if path.is_empty() => Err(StepError::invalid("a source is empty once its variables are replaced")),
        () if is_remote(&path) && kind == CopyKind::Add => Err(StepError::invalid(format!(
            "ADD of {path} is not supported: it is no file of the build context"
        ))),
        () if !elsewhere && leads_out(&path) => Err(StepError::invalid(format!(
            "the source {path} leads out of the build context"
        ))),
        () => Ok(path),
    }
}
