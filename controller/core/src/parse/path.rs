//! Where a walk stands: a path that costs nothing until a fault wants its text.

use super::node::escape;

/// One step from its parent, which lives further up the stack.
#[derive(Clone, Copy, Debug)]
pub struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    step: Step<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Step<'a> {
    Root,
    Key(&'a str),
    Index(usize),
}

impl<'a> Path<'a> {
    pub const ROOT: Path<'static> = Path {
        parent: None,
        step: Step::Root,
    };

    pub fn key(&'a self, key: &'a str) -> Path<'a> {
        Path {
            parent: Some(self),
            step: Step::Key(key),
        }
    }

    pub fn index(&'a self, index: usize) -> Path<'a> {
        Path {
            parent: Some(self),
            step: Step::Index(index),
        }
    }

    /// The place around; none of the root.
    pub fn parent(&self) -> Option<&'a Path<'a>> {
        self.parent
    }

    /// The last key; empty at the root.
    pub fn last_key(&self) -> &'a str {
        match (self.step, self.parent) {
            (Step::Key(key), _) => key,
            (_, Some(parent)) => parent.last_key(),
            (_, None) => "",
        }
    }

    /// JSON pointer (RFC 6901).
    pub fn pointer(&self) -> String {
        let before = self.parent.map(Path::pointer).unwrap_or_default();
        match self.step {
            Step::Root => before,
            Step::Key(key) => format!("{before}/{}", escape(key)),
            Step::Index(index) => format!("{before}/{index}"),
        }
    }

    /// For people, in backticks: `spec.services.web.ports[0]`.
    pub fn words(&self) -> String {
        match self.step {
            Step::Root => "the document".to_string(),
            _ => format!("`{}`", self.dotted()),
        }
    }

    fn dotted(&self) -> String {
        let before = self.parent.map(Path::dotted).unwrap_or_default();
        match self.step {
            Step::Root => before,
            Step::Key(key) if before.is_empty() => key.to_string(),
            Step::Key(key) => format!("{before}.{key}"),
            Step::Index(index) => format!("{before}[{index}]"),
        }
    }
}
