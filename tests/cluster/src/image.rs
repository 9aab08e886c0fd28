//! Small images that a test makes itself: one layer of a few files, as the archive that containerd imports.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

use crate::control_plane::{answer, write};
use crate::error::{Error, Result};

const IMAGE: &str = "application/vnd.oci.image";

/// What is in it, and what it runs.
#[derive(Clone, Debug)]
pub struct Image {
    reference: String,
    entrypoint: Vec<String>,
    files: Vec<(String, Content)>,
}

#[derive(Clone, Debug)]
enum Content {
    Program(Vec<u8>),
    Link(String),
}

impl Image {
    /// `reference` is a full name with a tag, as pods have it: `shop.test/web:1`.
    pub fn new(reference: &str, entrypoint: &[&str]) -> Self {
        Self {
            reference: reference.to_string(),
            entrypoint: entrypoint.iter().map(ToString::to_string).collect(),
            files: Vec::new(),
        }
    }

    /// A file that may be run; `path` is relative to the root.
    pub fn file(&mut self, path: &str, content: &[u8]) -> &mut Self {
        let content = Content::Program(content.to_vec());
        self.files.push((path.to_string(), content));
        self
    }

    pub fn link(&mut self, path: &str, target: &str) -> &mut Self {
        let content = Content::Link(target.to_string());
        self.files.push((path.to_string(), content));
        self
    }

    /// An OCI image layout as a tar file.
    pub fn archive(&self) -> io::Result<Vec<u8>> {
        let layer = self.layer()?;
        let config = json!({
            "architecture": architecture(),
            "os": "linux",
            "config": {"Entrypoint": self.entrypoint, "Env": ["PATH=/bin"]},
            "rootfs": {"type": "layers", "diff_ids": [digest(&layer)]},
        })
        .to_string();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": format!("{IMAGE}.manifest.v1+json"),
            "config": descriptor("config.v1+json", config.as_bytes()),
            "layers": [descriptor("layer.v1.tar", &layer)],
        })
        .to_string();
        let mut named = descriptor("manifest.v1+json", manifest.as_bytes());
        named["annotations"] = json!({"io.containerd.image.name": self.reference});
        let index = json!({"schemaVersion": 2, "manifests": [named]}).to_string();

        let mut archive = Builder::new(Vec::new());
        append(&mut archive, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        append(&mut archive, "index.json", index.as_bytes())?;
        for blob in [layer.as_slice(), config.as_bytes(), manifest.as_bytes()] {
            let path = digest(blob).replace(':', "/");
            append(&mut archive, &format!("blobs/{path}"), blob)?;
        }
        archive.into_inner()
    }

    fn layer(&self) -> io::Result<Vec<u8>> {
        let mut layer = Builder::new(Vec::new());
        for (path, content) in &self.files {
            match content {
                Content::Program(bytes) => append(&mut layer, path, bytes)?,
                Content::Link(target) => {
                    let mut header = Header::new_gnu();
                    header.set_entry_type(EntryType::Symlink);
                    header.set_size(0);
                    layer.append_link(&mut header, path, target)?;
                }
            }
        }
        layer.into_inner()
    }
}

/// A C program, compiled so that it needs no library.
pub fn compiled(folder: &Path, source: &str) -> Result<Vec<u8>> {
    let (text, program) = (folder.join("program.c"), folder.join("program"));
    write(&text, source)?;
    let mut command = Command::new("gcc");
    command.args(["-static", "-Os", "-s", "-o"]).arg(&program).arg(&text);
    let output = command.output().map_err(Error::system("run gcc"))?;
    answer("gcc", &["-static"], output)?;
    fs::read(&program).map_err(Error::system(format!("read {}", program.display())))
}

fn append(archive: &mut Builder<Vec<u8>>, path: &str, content: &[u8]) -> io::Result<()> {
    let mut header = Header::new_gnu();
    header.set_mode(0o755);
    header.set_size(content.len().try_into().map_err(io::Error::other)?);
    archive.append_data(&mut header, path, content)
}

fn descriptor(kind: &str, blob: &[u8]) -> Value {
    json!({"mediaType": format!("{IMAGE}.{kind}"), "digest": digest(blob), "size": blob.len()})
}

fn digest(blob: &[u8]) -> String {
    let hex: String = Sha256::digest(blob).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// Go's name of this machine's.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
