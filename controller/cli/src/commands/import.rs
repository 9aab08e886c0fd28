//! `portolan import`: the manifest of what a cluster runs already.

use portolan_provider_kubernetes::{KubernetesSettings, import as read};

use crate::args::ImportAppArgs;
use crate::failure::{self, CommandResult, exit};
use crate::output::{Output, yaml};

pub async fn import(arguments: ImportAppArgs, output: Output) -> CommandResult {
    let settings = KubernetesSettings {
        context: arguments.context,
        namespace: Some(arguments.namespace),
        ..KubernetesSettings::default()
    };
    let imported = read(&settings, &arguments.app, &arguments.deployments).await;
    let imported = imported.map_err(failure::call)?;
    let documents = [&imported.app, &imported.target];
    output.answer(&documents, || {
        documents.map(|one| format!("---\n{}", yaml(one))).concat()
    });
    for left in &imported.left {
        output.say(&format!("not in the manifest: {left}"));
    }
    Ok(exit::DONE)
}
