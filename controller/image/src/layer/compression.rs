//! The three ways in which a layer's archive may be packed.

use std::io::{self, Read, Write};

use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;

use crate::error::{Error, Result};
use crate::manifest::{DOCKER_LAYER, DOCKER_LAYER_GZIP, OCI_LAYER, OCI_LAYER_GZIP, OCI_LAYER_ZSTD};

/// How an archive is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    None,
    Gzip,
    Zstd,
}

/// The window a zstd frame may ask for, as a power of two: 128 MiB, the most that `zstd --long` asks by default.
const ZSTD_WINDOW_LOG: u32 = 27;
/// gzip's fastest level: layers are written more often than their last tenth of size matters.
const GZIP_LEVEL: u32 = 1;
const ZSTD_LEVEL: i32 = 1;

impl Compression {
    /// What a descriptor's media type says.
    ///
    /// # Errors
    /// [`Error::LayerType`] for what is no layer, or one that must be fetched from elsewhere (foreign layers).
    pub fn of_media_type(media_type: &str) -> Result<Self> {
        match media_type {
            OCI_LAYER | DOCKER_LAYER => Ok(Self::None),
            OCI_LAYER_GZIP | DOCKER_LAYER_GZIP => Ok(Self::Gzip),
            OCI_LAYER_ZSTD => Ok(Self::Zstd),
            other => Err(Error::LayerType {
                media_type: other.to_owned(),
            }),
        }
    }

    /// The OCI media type of a layer packed this way.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::None => OCI_LAYER,
            Self::Gzip => OCI_LAYER_GZIP,
            Self::Zstd => OCI_LAYER_ZSTD,
        }
    }

    /// What the first bytes of an archive say, where no media type does.
    pub fn of_first_bytes(bytes: &[u8]) -> Self {
        match bytes {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            [kind, 0x2a, 0x4d, 0x18, ..] if kind >> 4 == 5 => Self::Zstd,
            _ => Self::None,
        }
    }

    /// Decompresses what `reader` gives. All members or frames are read; anything else after them is an error.
    pub fn decoder<'a>(self, reader: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
        Ok(match self {
            Self::None => Box::new(reader),
            Self::Gzip => Box::new(MultiGzDecoder::new(io::BufReader::with_capacity(64 << 10, reader))),
            Self::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::new(reader)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG)?;
                Box::new(decoder)
            }
        })
    }

    /// Compresses into `writer`; always the same bytes for the same content.
    pub(super) fn encoder<W: Write>(self, writer: W) -> io::Result<Encoder<W>> {
        Ok(match self {
            Self::None => Encoder::None(writer),
            Self::Gzip => Encoder::Gzip(GzEncoder::new(writer, flate2::Compression::new(GZIP_LEVEL))),
            Self::Zstd => Encoder::Zstd(zstd::stream::write::Encoder::new(writer, ZSTD_LEVEL)?),
        })
    }
}

/// A compressor that must be finished.
pub(super) enum Encoder<W: Write> {
    None(W),
    Gzip(GzEncoder<W>),
    Zstd(zstd::stream::write::Encoder<'static, W>),
}

impl<W: Write> Encoder<W> {
    /// Writes what is left and gives the writer back.
    pub(super) fn finish(self) -> io::Result<W> {
        match self {
            Self::None(writer) => Ok(writer),
            Self::Gzip(encoder) => encoder.finish(),
            Self::Zstd(encoder) => encoder.finish(),
        }
    }
}

impl<W: Write> Write for Encoder<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::None(writer) => writer.write(bytes),
            Self::Gzip(encoder) => encoder.write(bytes),
            Self::Zstd(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::None(writer) => writer.flush(),
            Self::Gzip(encoder) => encoder.flush(),
            Self::Zstd(encoder) => encoder.flush(),
        }
    }
}
