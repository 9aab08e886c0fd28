//! `portolan check`: the portability report.

use portolan_core::capability::{Finding, Support, report};
use serde::Serialize;
use serde_json::Value;

use crate::args::CheckArgs;
use crate::failure::{CommandResult, Failure, exit};
use crate::manifests::{self, Deployment};
use crate::output::Output;
use crate::targets;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    namespace: String,
    app: String,
    target: String,
    provider: String,
    fields: Vec<Row>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    file: String,
    line: u32,
    #[serde(flatten)]
    finding: Finding,
}

pub fn check(arguments: &CheckArgs, output: Output) -> CommandResult {
    let deployments = manifests::select(&arguments.select)?;
    let reports = deployments.iter().map(report_of).collect::<Result<Vec<_>, _>>()?;
    output.answer(&reports, || reports.iter().map(human).collect());
    let worst = |support: &Support| match support {
        Support::Impossible(_) => true,
        Support::Degraded(_) => arguments.strict,
        Support::Exact | Support::Emulated(_) => false,
    };
    let fails = reports
        .iter()
        .flat_map(|report| &report.fields)
        .any(|row| worst(&row.finding.support));
    Ok(if fails { exit::FAILED } else { exit::DONE })
}

fn report_of(deployment: &Deployment) -> Result<Report, Failure> {
    let shape = targets::shape(deployment)?;
    let spec = written_fields(deployment);
    let rows = report(shape.capabilities(), &spec).into_iter().map(|finding| {
        let place = deployment.document.spans.locate(&finding.pointer);
        Row {
            file: place.file,
            line: place.line,
            finding,
        }
    });
    let mut rows: Vec<Row> = rows.collect();
    rows.sort_by_key(|row| row.line);
    let metadata = &deployment.app().metadata;
    Ok(Report {
        namespace: metadata.namespace.clone(),
        app: metadata.name.clone(),
        target: deployment.target.metadata.name.clone(),
        provider: shape.name().to_string(),
        fields: rows,
    })
}

/// The spec with what the file says, not the defaults: a default that nobody wrote is not worth a line.
fn written_fields(deployment: &Deployment) -> Value {
    let spec = serde_json::to_value(&deployment.app().spec).expect("manifests hold only string keys");
    let spans = &deployment.document.spans;
    prune(&spec, &mut "/spec".to_string(), &|pointer| {
        spans.value(pointer).is_some()
    })
    .unwrap_or_default()
}

fn prune(value: &Value, pointer: &mut String, written: &dyn Fn(&str) -> bool) -> Option<Value> {
    if !written(pointer) {
        return None;
    }
    let length = pointer.len();
    let mut below = |segment: &str, value: &Value| {
        pointer.push('/');
        pointer.push_str(&segment.replace('~', "~0").replace('/', "~1"));
        let kept = prune(value, pointer, written);
        pointer.truncate(length);
        kept
    };
    Some(match value {
        Value::Object(fields) => Value::Object(
            fields
                .iter()
                .filter_map(|(key, value)| Some((key.clone(), below(key, value)?)))
                .collect(),
        ),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .map(|(at, item)| below(&at.to_string(), item).unwrap_or_default())
            .collect(),
        leaf => leaf.clone(),
    })
}

fn human(report: &Report) -> String {
    let mut text = format!(
        "{}/{} on {} ({})\n",
        report.namespace, report.app, report.target, report.provider
    );
    let count = |word: &str| {
        report
            .fields
            .iter()
            .filter(|row| row.finding.support.word() == word)
            .count()
    };
    for row in report.fields.iter().filter(|row| row.finding.support != Support::Exact) {
        let field = row.finding.pointer.trim_start_matches("/spec/").replace('/', ".");
        let because = row.finding.support.because().unwrap_or_default();
        text.push_str(&format!(
            "  {}:{}  {field}  {}: {because}\n",
            row.file,
            row.line,
            row.finding.support.word()
        ));
    }
    text.push_str(&format!(
        "{} exact, {} emulated, {} degraded, {} impossible\n",
        count("exact"),
        count("emulated"),
        count("degraded"),
        count("impossible")
    ));
    text
}
