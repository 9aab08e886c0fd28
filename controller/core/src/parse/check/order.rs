//! `after`: everything in it exists, and nothing waits for itself.

use std::collections::HashMap;

use super::{AppView, Fault, Path};
use crate::parse::fault::nearest_or_all;
use crate::parse::node::{Entry, Node};

pub fn check(app: &AppView<'_>, path: &Path<'_>, faults: &mut Vec<Fault>) {
    for (group, entries) in [("services", app.services), ("jobs", app.jobs)] {
        let group = path.key(group);
        for entry in entries {
            check_known(app, entry, &group.key(&entry.key).key("after"), faults);
        }
    }
    check_cycles(app, path, faults);
}

fn check_known(app: &AppView<'_>, entry: &Entry, path: &Path<'_>, faults: &mut Vec<Fault>) {
    let known: Vec<&str> = names(app).filter(|name| *name != entry.key).collect();
    for (index, item) in after(entry).iter().enumerate() {
        faults.extend(of_the_clock(app, item, &path.index(index)));
        let Some(name) = item.text().filter(|name| *name != entry.key && !known.contains(name)) else {
            continue;
        };
        let message = format!(
            "`{}` waits for `{name}`, which is neither a service nor a job of this app",
            entry.key
        );
        let hint = nearest_or_all(name, known.iter().copied(), "it can wait for");
        faults.push(Fault::new("UnknownDependency", item.span, &path.index(index), message).hint(hint));
    }
}

/// What runs by the clock is never done, so nothing can wait for it.
fn of_the_clock(app: &AppView<'_>, item: &Node, path: &Path<'_>) -> Option<Fault> {
    let name = item.text()?;
    let job = app.jobs.iter().find(|job| job.key == name)?;
    job.value.get("schedule")?;
    let message = format!("nothing can wait for `{name}`, which runs by the clock");
    let fault = Fault::new("DependencyScheduled", item.span, path, message);
    Some(fault.hint("wait for a job without `schedule`"))
}

/// Depth first, each name once. The item that closes a circle is the fault.
fn check_cycles(app: &AppView<'_>, path: &Path<'_>, faults: &mut Vec<Fault>) {
    let graph = Graph::of(app);
    let mut done = vec![false; graph.nodes.len()];
    for start in 0..graph.nodes.len() {
        // The way down: which node, and which of its items is next.
        let mut trail: Vec<(usize, usize)> = vec![(start, 0)];
        while let Some((node, next)) = trail.last_mut() {
            let (node, index) = (*node, *next);
            *next += 1;
            if done[node] || index >= after(graph.nodes[node].1).len() {
                done[node] = true;
                trail.pop();
                continue;
            }
            let Some(below) = graph.target(node, index) else {
                continue;
            };
            match trail.iter().position(|(node, _)| *node == below) {
                None => trail.push((below, 0)),
                Some(from) => {
                    let circle: Vec<usize> = trail[from..].iter().map(|(node, _)| *node).collect();
                    faults.push(graph.cycle(&circle, index, path));
                }
            }
        }
    }
}

/// Services and jobs, with the edges that their `after` makes.
struct Graph<'a> {
    nodes: Vec<(&'static str, &'a Entry)>,
    index_of: HashMap<&'a str, usize>,
}

impl<'a> Graph<'a> {
    fn of(app: &AppView<'a>) -> Self {
        let services = app.services.iter().map(|entry| ("services", entry));
        let nodes: Vec<_> = services.chain(app.jobs.iter().map(|entry| ("jobs", entry))).collect();
        // Backwards, so that of two nodes of one name, which is a fault of its own, the first one counts.
        let index_of = nodes
            .iter()
            .enumerate()
            .rev()
            .map(|(index, (_, entry))| (entry.key.as_str(), index))
            .collect();
        Self { nodes, index_of }
    }

    /// Where item `index` of a node's `after` leads to.
    fn target(&self, node: usize, index: usize) -> Option<usize> {
        self.index_of.get(after(self.nodes[node].1)[index].text()?).copied()
    }

    /// The last node of `circle` waits, by its item `index`, for the first one.
    fn cycle(&self, circle: &[usize], index: usize, spec: &Path<'_>) -> Fault {
        let name = |node: &usize| self.nodes[*node].1.key.as_str();
        let (first, last) = (circle[0], circle[circle.len() - 1]);
        let (group, entry) = self.nodes[last];
        let way: Vec<&str> = circle.iter().chain([&first]).map(name).collect();
        let (group, key) = (spec.key(group), &entry.key);
        let owner = group.key(key);
        let items = owner.key("after");
        Fault::new(
            "DependencyCycle",
            after(entry)[index].span,
            &items.index(index),
            format!("`{}` waits for itself", name(&first)),
        )
        .because(format!("the order is {}", way.join(" after ")))
        .hint("remove one of these from its `after`")
    }
}

fn after(entry: &Entry) -> &[Node] {
    entry.value.get("after").map(Node::items).unwrap_or_default()
}

fn names<'a>(app: &AppView<'a>) -> impl Iterator<Item = &'a str> {
    app.services.iter().chain(app.jobs).map(|entry| entry.key.as_str())
}
