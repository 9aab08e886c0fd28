//! Builds archives byte by byte, independently of the crate's own writer, so that they can lie.

#![allow(dead_code, reason = "each test file uses a part of it")]

/// An archive under construction.
#[derive(Clone, Default)]
pub struct Archive {
    pub bytes: Vec<u8>,
}

/// One header block, with every field free to be wrong.
#[derive(Clone)]
pub struct Block {
    pub bytes: [u8; 512],
}

impl Block {
    pub fn new(name: &[u8], kind: u8, size: u64) -> Self {
        let mut block = Self { bytes: [0; 512] };
        block.set(0, &name[..name.len().min(100)]);
        block.set(100, b"0000644\0");
        block.set(108, b"0000000\0");
        block.set(116, b"0000000\0");
        block.set(124, format!("{size:011o}\0").as_bytes());
        block.set(136, b"00000000000\0");
        block.bytes[156] = kind;
        block.set(257, b"ustar\x0000");
        block.set(329, b"0000000\0");
        block.set(337, b"0000000\0");
        block
    }

    pub fn set(&mut self, offset: usize, bytes: &[u8]) -> &mut Self {
        self.bytes[offset..offset + bytes.len()].copy_from_slice(bytes);
        self
    }

    pub fn mode(mut self, mode: u32) -> Self {
        self.set(100, format!("{mode:07o}\0").as_bytes());
        self
    }

    pub fn owner(mut self, uid: u32, gid: u32) -> Self {
        self.set(108, format!("{uid:07o}\0").as_bytes());
        self.set(116, format!("{gid:07o}\0").as_bytes());
        self
    }

    pub fn mtime(mut self, seconds: u64) -> Self {
        self.set(136, format!("{seconds:011o}\0").as_bytes());
        self
    }

    pub fn link(mut self, target: &[u8]) -> Self {
        self.set(157, target);
        self
    }

    pub fn device(mut self, major: u32, minor: u32) -> Self {
        self.set(329, format!("{major:07o}\0").as_bytes());
        self.set(337, format!("{minor:07o}\0").as_bytes());
        self
    }

    pub fn with(mut self, offset: usize, bytes: &[u8]) -> Self {
        self.set(offset, bytes);
        self
    }

    pub fn sealed(mut self) -> [u8; 512] {
        self.set(148, b"        ");
        let sum: u32 = self.bytes.iter().map(|byte| u32::from(*byte)).sum();
        self.set(148, format!("{sum:06o}\0 ").as_bytes());
        self.bytes
    }
}

impl Archive {
    pub fn new() -> Self {
        Self::default()
    }

    /// A header and its content, padded.
    pub fn block(mut self, block: Block, content: &[u8]) -> Self {
        self.bytes.extend(block.sealed());
        self.padded(content)
    }

    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend(bytes);
        self
    }

    pub fn file(self, name: &str, content: &str) -> Self {
        self.block(
            Block::new(name.as_bytes(), b'0', content.len() as u64),
            content.as_bytes(),
        )
    }

    pub fn dir(self, name: &str) -> Self {
        self.block(Block::new(name.as_bytes(), b'5', 0).mode(0o755), b"")
    }

    pub fn symlink(self, name: &str, target: &str) -> Self {
        self.block(Block::new(name.as_bytes(), b'2', 0).link(target.as_bytes()), b"")
    }

    pub fn hard_link(self, name: &str, target: &str) -> Self {
        self.block(Block::new(name.as_bytes(), b'1', 0).link(target.as_bytes()), b"")
    }

    pub fn fifo(self, name: &str) -> Self {
        self.block(Block::new(name.as_bytes(), b'6', 0), b"")
    }

    pub fn char_device(self, name: &str, major: u32, minor: u32) -> Self {
        self.block(Block::new(name.as_bytes(), b'3', 0).device(major, minor), b"")
    }

    /// An extended header for the next entry.
    pub fn pax(self, records: &[(&str, &[u8])]) -> Self {
        self.pax_of(b'x', records)
    }

    pub fn pax_of(self, kind: u8, records: &[(&str, &[u8])]) -> Self {
        let content: Vec<u8> = records.iter().flat_map(|(key, value)| record(key, value)).collect();
        self.block(Block::new(b"pax", kind, content.len() as u64), &content)
    }

    /// A GNU long name (`L`) or long target (`K`) for the next entry.
    pub fn gnu_long(self, kind: u8, text: &[u8]) -> Self {
        let content = [text, b"\0"].concat();
        self.block(
            Block::new(b"././@LongLink", kind, content.len() as u64).with(257, b"ustar  \0"),
            &content,
        )
    }

    /// With its end.
    pub fn end(self) -> Vec<u8> {
        self.raw(&[0; 1024]).bytes
    }

    fn padded(mut self, content: &[u8]) -> Self {
        self.bytes.extend(content);
        self.bytes.resize(self.bytes.len().next_multiple_of(512), 0);
        self
    }
}

pub fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let body = [b" ", key.as_bytes(), b"=", value, b"\n"].concat();
    let mut length = body.len() + 1;
    while length.to_string().len() + body.len() != length {
        length += 1;
    }
    [length.to_string().as_bytes(), &body[..]].concat()
}
