//! A plan in words: for a terminal, and as Markdown for a pull request.

use std::fmt::Write;

use serde_json::Value;

use super::{FieldChange, Plan, Step, Verb};
use crate::capability::Degraded;
use crate::resource::{Open, open_values};

/// For a terminal or a log; without colour, which is never the only signal.
pub fn human(plan: &Plan) -> String {
    let mut text = String::new();
    let scope = &plan.scope;
    _ = writeln!(
        text,
        "{}/{} on {}, generation {}",
        scope.namespace, scope.app, scope.target, plan.generation
    );
    for step in &plan.steps {
        _ = writeln!(text, "  {} {} {}{}", sign(step), word(step), step.id, remarks(step));
        for line in details(step) {
            _ = writeln!(text, "      {line}");
        }
    }
    for kept in &plan.kept {
        _ = writeln!(text, "  = keep {}: {}", kept.id, kept.because);
    }
    for one in &plan.degraded {
        _ = writeln!(text, "  * {}: {}", field(one), one.because);
    }
    for problem in &plan.problems {
        _ = writeln!(text, "  ! {}: {}", problem.code, problem.message);
        if let Some(hint) = &problem.hint {
            _ = writeln!(text, "      hint: {hint}");
        }
    }
    for reason in &plan.approval {
        _ = writeln!(text, "  ? needs approval: {reason}");
    }
    _ = writeln!(text, "{}", summary(plan));
    text
}

/// A field that is taken in part, as a manifest names it.
fn field(one: &Degraded) -> String {
    dotted(one.pointer.trim_start_matches("/spec"))
}

/// One table a plan, as GitHub and GitLab render it.
pub fn markdown(plan: &Plan) -> String {
    let mut text = String::new();
    let scope = &plan.scope;
    _ = writeln!(text, "### {}/{} on `{}`", scope.namespace, scope.app, scope.target);
    if !plan.steps.is_empty() {
        _ = writeln!(text, "\n| | action | resource | changes |\n|---|---|---|---|");
    }
    for step in &plan.steps {
        let changes: Vec<String> = details(step)
            .iter()
            .map(|line| format!("`{}`", escaped(line)))
            .collect();
        let cell = [
            changes.join("<br>"),
            escaped(remarks(step).trim_start_matches([',', ' ', ':'])).to_string(),
        ];
        let cell: Vec<&str> = cell
            .iter()
            .map(String::as_str)
            .filter(|part| !part.is_empty())
            .collect();
        _ = writeln!(
            text,
            "| {} | {} | `{}` | {} |",
            step.number,
            word(step),
            step.id,
            cell.join("<br>")
        );
    }
    for kept in &plan.kept {
        _ = writeln!(text, "\n- keep `{}`: {}", kept.id, kept.because);
    }
    for one in &plan.degraded {
        _ = writeln!(text, "\n- `{}` in part: {}", field(one), one.because);
    }
    for problem in &plan.problems {
        _ = writeln!(text, "\n> **{}**: {}", problem.code, problem.message);
    }
    for reason in &plan.approval {
        _ = writeln!(text, "\n> needs approval: {reason}");
    }
    _ = writeln!(text, "\n{}", summary(plan));
    text
}

/// `2 to create, 1 to update, 0 to delete, 3 unchanged`.
fn summary(plan: &Plan) -> String {
    if plan.steps.is_empty() && plan.problems.is_empty() {
        return format!("no changes, {} unchanged", plan.unchanged.len());
    }
    format!(
        "{} to create, {} to update, {} to delete, {} unchanged",
        plan.count(Verb::Create),
        plan.count(Verb::Update),
        plan.count(Verb::Delete),
        plan.unchanged.len()
    )
}

fn sign(step: &Step) -> &'static str {
    match step.verb {
        Verb::Create => "+",
        Verb::Update => "~",
        Verb::Delete => "-",
    }
}

pub(super) fn word(step: &Step) -> &'static str {
    match step.verb {
        Verb::Create => "create",
        Verb::Update => "update",
        Verb::Delete => "delete",
    }
}

fn remarks(step: &Step) -> String {
    let mut remarks = Vec::new();
    if step.replacement {
        remarks.push("replacement".to_string());
    }
    if step.verb == Verb::Update && step.changes.is_empty() {
        remarks.push("failed before, tried again".to_string());
    }
    if let Some(downtime) = &step.downtime {
        remarks.push(format!("downtime: {downtime}"));
    }
    if let Some(loss) = &step.data_loss {
        remarks.push(format!("loss of data: {loss}"));
    }
    match remarks.is_empty() {
        true => String::new(),
        false => format!(": {}", remarks.join("; ")),
    }
}

/// Field by field: what changes, and in what is created, what is not known yet.
fn details(step: &Step) -> Vec<String> {
    let open = step.body.as_ref().map(open_values).unwrap_or_default();
    let open = open.iter().filter(|_| step.verb == Verb::Create);
    let open = open.map(|(pointer, open)| format!("{}: {}", dotted(pointer), open_word(open)));
    step.changes.iter().map(change_line).chain(open).collect()
}

pub(super) fn change_line(change: &FieldChange) -> String {
    let mut line = match (&change.old, &change.new) {
        (None, Some(new)) => format!("+ {}: {}", change.field, shown(new)),
        (Some(old), None) => format!("- {}: {}", change.field, shown(old)),
        (old, new) => format!(
            "~ {}: {} -> {}",
            change.field,
            old.as_ref().map_or("?".into(), shown),
            new.as_ref().map_or("?".into(), shown)
        ),
    };
    if change.replace {
        line.push_str(" (forces replacement)");
    }
    line
}

fn shown(value: &Value) -> String {
    match (Open::of(value), value) {
        (Some(open), _) => open_word(&open),
        (None, Value::String(text)) => short(text),
        (None, other) => short(&other.to_string()),
    }
}

fn open_word(open: &Open) -> String {
    match open {
        Open::Ref { .. } => "(known after apply)".into(),
        Open::Unknown(after) => after.to_string(),
    }
}

/// Long values are cut in the middle: the ends of digests and addresses tell more than their middles. Control characters,
/// line breaks among them, are shown as a dot.
fn short(text: &str) -> String {
    const ROOM: usize = 60;
    let text: String = text.chars().map(|c| if c.is_control() { '·' } else { c }).collect();
    let count = text.chars().count();
    if count <= ROOM {
        return text;
    }
    let head: String = text.chars().take(ROOM * 2 / 3).collect();
    let tail: String = text.chars().skip(count - ROOM / 4).collect();
    format!("{head}...{tail}")
}

fn dotted(pointer: &str) -> String {
    pointer.trim_start_matches('/').replace('/', ".")
}

fn escaped(text: &str) -> String {
    text.replace('|', "\\|")
}
