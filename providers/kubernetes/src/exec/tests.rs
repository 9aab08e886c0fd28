//! Which container is entered, and how a command's end is told.

use serde_json::json;

use super::*;

#[test]
fn the_services_own_container_is_entered_or_the_one_that_is_named() {
    let pod = json!({
        "metadata": { "name": "web-1" },
        "spec": { "containers": [{ "name": "web" }], "initContainers": [{ "name": "proxy" }] },
    });
    for (reason, container, expected) in [
        ("its own", None, Ok("web")),
        ("its sidecar", Some("proxy"), Ok("proxy")),
        ("no such container", Some("db"), Err("there are web, proxy")),
    ] {
        let request = ExecRequest {
            workload: "web".into(),
            replica: None,
            container: container.map(String::from),
            argv: vec!["sh".into()],
            terminal: None,
        };
        let told = place(&pod, &request).map(|place| place.container);
        let told = told.map_err(|error| error.hint.unwrap());
        assert_eq!(told, expected.map(String::from).map_err(String::from), "{reason}");
    }
}

#[test]
fn how_a_command_ended_stands_in_its_status() {
    let ended = json!({
        "status": "Failure", "reason": "NonZeroExitCode", "message": "command terminated with non-zero exit code",
        "details": { "causes": [{ "reason": "ExitCode", "message": "7" }] },
    });
    let missing = json!({
        "status": "Failure", "reason": "InternalError", "code": 500,
        "message": "Internal error occurred: error executing command in container: exec: \"nope\":\n not found",
    });
    for (reason, status, expected) in [
        ("well", json!({ "status": "Success" }), Ok(0)),
        ("with a code", ended, Ok(7)),
        ("it never began", missing, Err("StartFailed")),
    ] {
        let status: Status = serde_json::from_value(status).unwrap();
        let place = Place {
            pod: "web-1".into(),
            container: "web".into(),
        };
        let told = exit_code(&status, &place, &["nope".into()]);
        if let Err(error) = &told {
            assert!(
                error.message.starts_with("cannot start `nope` in container `web`: "),
                "{reason}"
            );
            assert!(
                error.hint.is_some() && !error.message.contains('\n'),
                "{reason}: {error:?}"
            );
        }
        assert_eq!(
            told.map_err(|error| error.code),
            expected.map_err(String::from),
            "{reason}"
        );
    }
}
