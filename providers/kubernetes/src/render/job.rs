//! What runs to its end: once for each revision, or by the clock.

use portolan_core::desired::DesiredJob;
use serde_json::{Value, json};

use super::pod::{Files, Pod};
use super::workload::say_revision;
use super::{Part, Renderer};
use crate::kinds::{CRON_JOB, JOB, Kind};

/// Where a schedule names no time zone: a cluster would take its controller's.
const UTC: &str = "Etc/UTC";

impl Renderer<'_> {
    pub(super) fn job(&mut self, job: &DesiredJob) {
        let part = Part {
            name: &job.name,
            component: "job",
            origin: &job.origin,
        };
        let files = self.files(part, &[&job.container]);
        let spec = self.job_spec(job, part, &files);
        let (kind, body) = in_its_kind(job, spec);
        let mut rendered = self.object(kind, self.names.of(&job.name), part, body);
        say_revision(&mut rendered, job.revision.as_deref());
        rendered.edges = self.edges(&[&job.container], &files, &job.after);
        self.add(rendered);
    }

    fn job_spec(&mut self, job: &DesiredJob, part: Part<'_>, files: &Files) -> Value {
        let pod = Pod::of_job(job, part);
        let labels = self.template_labels(&job.name, "job", job.revision.as_deref());
        let tries = u64::from(job.retries) + 1;
        json!({
            "backoffLimit": job.retries,
            "activeDeadlineSeconds": super::container::seconds(job.timeout) * tries,
            // The next try begins when the last one has ended, not when it was told to.
            "podReplacementPolicy": "Failed",
            "template": { "metadata": { "labels": labels }, "spec": self.pod(&pod, files) },
        })
    }
}

/// The Jobs of a CronJob bear no label of ours: they are its, and go with it.
fn in_its_kind(job: &DesiredJob, spec: Value) -> (&'static Kind, Value) {
    let Some(schedule) = &job.schedule else {
        return (&JOB, json!({ "spec": spec }));
    };
    let body = json!({ "spec": {
        "schedule": schedule.cron,
        "timeZone": schedule.time_zone.as_deref().unwrap_or(UTC),
        "concurrencyPolicy": "Forbid",
        "jobTemplate": { "spec": spec },
    }});
    (&CRON_JOB, body)
}
