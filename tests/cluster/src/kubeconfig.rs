//! A kubeconfig with everything in it: no file beside it is needed to use it, and no helper program.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::certificates::{Authority, Identity};

/// Of one user at one server. It is JSON, which is YAML too; the data are base64, as the format has it.
pub(crate) fn kubeconfig(server: &str, authority: &Authority, user: &Identity) -> String {
    let cluster = json!({"server": server, "certificate-authority-data": STANDARD.encode(authority.certificate())});
    let user = json!({
        "client-certificate-data": STANDARD.encode(&user.certificate),
        "client-key-data": STANDARD.encode(&user.key),
    });
    let name = "portolan-tests";
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    })
    .to_string()
}
