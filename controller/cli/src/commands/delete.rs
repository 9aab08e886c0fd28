//! `portolan delete`: everything of an app goes, but for what holds data.

use portolan_core::plan::PlanOptions;
use portolan_engine::Wish;

use super::apply::{How, carry_out};
use crate::args::DeleteArgs;
use crate::audience::Consent;
use crate::failure::{CommandResult, Failure};
use crate::manifests::{self, Deployment};
use crate::output::Output;

pub async fn delete(arguments: DeleteArgs, output: Output) -> CommandResult {
    let deployments = manifests::select_for_change(&arguments.select)?;
    let consent = Consent::of(arguments.yes, output.is_machine());
    let titles: Vec<String> = deployments.iter().map(Deployment::title).collect();
    let what = titles.join(", ");
    if arguments.dry_run {
        return carry_out(deployments, how(&arguments), output).await;
    }
    if consent == Consent::Withheld {
        return Err(Failure::usage(
            "NotApproved",
            format!("nobody is here to say whether {what} may be deleted"),
        )
        .hint("--yes says so"));
    }
    let data = match arguments.volumes {
        true => "with all data in its volumes",
        false => "its volumes are kept",
    };
    if !consent.ask(&format!("Delete {what} ({data})?")) {
        return Err(Failure::new("NotApproved", "nothing was deleted"));
    }
    carry_out(deployments, how(&arguments), output).await
}

fn how(arguments: &DeleteArgs) -> How {
    How {
        wish: Wish::Delete {
            erase_data: arguments.volumes,
        },
        options: PlanOptions {
            retry: true,
            ..PlanOptions::default()
        },
        no_wait: false,
        dry_run: arguments.dry_run,
        // Whoever said yes to a delete said yes to its size.
        consent: Consent::Given,
    }
}
