//! Messages of nfnetlink as bytes: a header of netlink, one of nfnetlink, attributes that may hold attributes.

const REQUEST: u16 = 1;
const NESTED: u16 = 0x8000;
const HEADER: usize = 16;

pub struct Message {
    kind: u16,
    flags: u16,
    body: Vec<u8>,
}

impl Message {
    pub fn new(kind: u16, flags: u16, family: u8) -> Message {
        Message {
            kind,
            flags: flags | REQUEST,
            body: vec![family, 0, 0, 0],
        }
    }

    /// The first or last one of a batch for this subsystem.
    pub fn border(kind: u16, subsystem: u16) -> Message {
        let [high, low] = subsystem.to_be_bytes();
        Message {
            kind,
            flags: REQUEST,
            body: vec![0, 0, high, low],
        }
    }

    pub fn flagged(mut self, flags: u16) -> Message {
        self.flags |= flags;
        self
    }

    pub fn value(mut self, attribute: u16, value: &[u8]) -> Message {
        let length = value.len() as u16 + 4;
        self.body.extend(length.to_ne_bytes());
        self.body.extend(attribute.to_ne_bytes());
        self.body.extend(value);
        self.body.resize(self.body.len().next_multiple_of(4), 0);
        self
    }

    pub fn number(self, attribute: u16, value: u32) -> Message {
        self.value(attribute, &value.to_be_bytes())
    }

    pub fn text(self, attribute: u16, value: &str) -> Message {
        let bytes: Vec<u8> = value.bytes().chain([0]).collect();
        self.value(attribute, &bytes)
    }

    pub fn nested(mut self, attribute: u16, inner: impl FnOnce(Message) -> Message) -> Message {
        let outer = std::mem::take(&mut self.body);
        let filled = inner(self);
        let (kind, flags, value) = (filled.kind, filled.flags, filled.body);
        let whole = Message {
            kind,
            flags,
            body: outer,
        };
        whole.value(attribute | NESTED, &value)
    }

    pub fn bytes(self, sequence: u32) -> Vec<u8> {
        let length = (HEADER + self.body.len()) as u32;
        let mut bytes = length.to_ne_bytes().to_vec();
        bytes.extend(self.kind.to_ne_bytes());
        bytes.extend(self.flags.to_ne_bytes());
        bytes.extend(sequence.to_ne_bytes());
        // The sender: the kernel knows it.
        bytes.extend([0; 4]);
        bytes.extend(self.body);
        bytes
    }
}

/// Kind and value of each attribute; what is cut off ends the list.
pub fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = u16::from_ne_bytes(rest.get(..2)?.try_into().ok()?) as usize;
        let kind = u16::from_ne_bytes(rest.get(2..4)?.try_into().ok()?);
        let value = rest.get(4..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind & !NESTED, value))
    })
}

/// Without the zero at its end.
pub fn text_of(value: &[u8]) -> String {
    let text = value.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_read_as_they_were_written() {
        let message = Message::new(7, 0, 2).text(1, "abc").nested(2, |m| m.number(3, 9));
        let bytes = message.bytes(5);
        let found: Vec<(u16, &[u8])> = attributes(&bytes[HEADER + 4..]).collect();
        assert_eq!(found[0], (1, &b"abc\0"[..]));
        assert_eq!(attributes(found[1].1).next(), Some((3, &[0, 0, 0, 9][..])));
        assert_eq!(bytes.len() as u32, u32::from_ne_bytes(bytes[..4].try_into().unwrap()));
        assert_eq!(
            attributes(&bytes[HEADER + 4..bytes.len() - 1]).count(),
            1,
            "the second is cut off"
        );
    }
}
