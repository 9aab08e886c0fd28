//! Mount options in words: attributes of a mount, and data for the file system.

/// What the words of one mount mean.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    pub bind: bool,
    pub recursive: bool,
    /// `MOUNT_ATTR_*` to set and to clear.
    pub set: u64,
    pub clear: u64,
    /// What is left is the file system's own: key, and value if there is one.
    pub data: Vec<(String, Option<String>)>,
}

/// Word, bits to set, bits to clear. The access-time words are one field of several bits: each clears it first.
const WORDS: &[(&str, u64, u64)] = &[
    ("ro", libc::MOUNT_ATTR_RDONLY, 0),
    ("rw", 0, libc::MOUNT_ATTR_RDONLY),
    ("nosuid", libc::MOUNT_ATTR_NOSUID, 0),
    ("suid", 0, libc::MOUNT_ATTR_NOSUID),
    ("nodev", libc::MOUNT_ATTR_NODEV, 0),
    ("dev", 0, libc::MOUNT_ATTR_NODEV),
    ("noexec", libc::MOUNT_ATTR_NOEXEC, 0),
    ("exec", 0, libc::MOUNT_ATTR_NOEXEC),
    ("relatime", libc::MOUNT_ATTR_RELATIME, libc::MOUNT_ATTR__ATIME),
    ("noatime", libc::MOUNT_ATTR_NOATIME, libc::MOUNT_ATTR__ATIME),
    ("strictatime", libc::MOUNT_ATTR_STRICTATIME, libc::MOUNT_ATTR__ATIME),
    ("nodiratime", libc::MOUNT_ATTR_NODIRATIME, 0),
    ("nosymfollow", libc::MOUNT_ATTR_NOSYMFOLLOW, 0),
];

impl Options {
    /// Later words win, as for mount(8). Propagation is always private: nothing is shared with the host.
    pub fn parse(words: &[String]) -> Options {
        let mut options = Options::default();
        for word in words {
            match word.as_str() {
                "bind" => options.bind = true,
                "rbind" => (options.bind, options.recursive) = (true, true),
                "private" | "rprivate" | "defaults" => {}
                word => options.add(word),
            }
        }
        options
    }

    fn add(&mut self, word: &str) {
        if let Some((_, set, clear)) = WORDS.iter().find(|(known, _, _)| *known == word) {
            self.set = self.set & !clear | set;
            self.clear = self.clear & !set | clear;
            return;
        }
        let (key, value) = match word.split_once('=') {
            Some((key, value)) => (key, Some(value.to_string())),
            None => (word, None),
        };
        self.data.push((key.to_string(), value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_become_bits_and_data() {
        let parse = |text: &str| Options::parse(&text.split(',').map(String::from).collect::<Vec<_>>());
        assert_eq!(
            parse("nosuid,ro").set,
            libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_RDONLY
        );
        assert_eq!(parse("ro,rw").set, 0, "the later word wins");
        assert_eq!(
            parse("rbind,rprivate,ro"),
            Options {
                bind: true,
                recursive: true,
                set: 1,
                ..Options::default()
            }
        );
        assert_eq!(
            parse("mode=755,newinstance").data,
            [("mode".into(), Some("755".into())), ("newinstance".into(), None)]
        );
    }
}
