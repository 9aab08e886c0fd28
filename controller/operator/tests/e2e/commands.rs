//! The commands themselves, which look anew at each step and watch nothing, behind the same proxy as an operator: everything
//! that they ask goes wrong in every way, and in the end all is as if nothing had.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::faults::{Life, Stage, befall_something, each_by_itself, is_as, of_all_sorts};
use crate::proxy::Armed;
use crate::role::{by_driver, by_gateway_and_claim, crash, of_every_kind, takes_labels};
use crate::world::{DIGEST, app_in, program, target};

/// A promotion is asked for once, and what has no answer is said again.
const TRIES: usize = 3;

struct Commands<'a> {
    stage: &'a Stage,
    home: PathBuf,
    folder: PathBuf,
}

impl Commands<'_> {
    /// From the first `apply` to the last `delete`; answers what there is before that.
    fn lead(&self) -> BTreeMap<String, Value> {
        let world = &self.stage.world;
        let mut all = of_every_kind("team");
        self.write(
            "all",
            &[all.clone(), target("here"), by_gateway_and_claim(), by_driver()],
        );
        self.say(&["apply", "-f", "all.yaml", "-t", "all", "--yes"]);
        takes_labels(world, "team");
        self.say(&["plan", "-f", "all.yaml", "-t", "all"]);
        self.say(&["apply", "-f", "all.yaml", "-t", "all", "--yes"]);
        self.fails();
        self.say(&["delete", "-f", "all.yaml", "-t", "all", "--yes"]);
        // A second of its name takes up the claim that the first has left.
        self.say(&["apply", "-f", "all.yaml", "-t", "all", "--yes"]);

        let web = &mut all["spec"]["services"]["web"];
        web["env"] = json!({ "GREETING": "hello" });
        web["rollout"] = json!({ "strategy": "canary", "steps": [{ "weight": "50%" }] });
        self.write("all", &[all, target("here"), by_gateway_and_claim(), by_driver()]);
        self.say(&["apply", "-f", "all.yaml", "-t", "here", "--yes"]);
        self.say(&["promote", "all", "-f", "all.yaml", "-t", "here"]);
        self.say(&["status", "-f", "all.yaml", "-t", "all"]);
        let at_rest = self.stage.ours();
        self.say(&["delete", "-f", "all.yaml", "-t", "all", "--yes"]);
        at_rest
    }

    /// No node has so much room, so that its pods are there to crash and never ready.
    fn fails(&self) {
        let mut failing = app_in("team", "failing", 1);
        failing["spec"]["services"]["web"]["resources"] = json!({ "cpu": "100" });
        self.write("failing", &[failing, target("here")]);
        let mut applying = self.command(&["apply", "-f", "failing.yaml", "--yes"]);
        let mut applying = applying.stderr(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        while applying.try_wait().unwrap().is_none() {
            crash(&self.stage.world, "team");
            std::thread::sleep(Duration::from_millis(100));
        }
        let output = applying.wait_with_output().unwrap();
        let said = said(&output);
        assert!(said.contains("error[CrashLoopBackOff]"), "{said}");
        self.say(&["delete", "-f", "failing.yaml", "--yes"]);
    }

    fn say(&self, arguments: &[&str]) {
        for _ in 0..TRIES {
            self.stage.proxy.ledger().forget_refusals();
            let output = self.command(arguments).output().unwrap();
            let said = said(&output);
            match output.status.code() {
                Some(0) => return,
                Some(2) if arguments[0] == "plan" => return,
                Some(1) if arguments[0] == "promote" => println!("promote: {said}"),
                code => panic!("portolan {}: {code:?}: {said}", arguments.join(" ")),
            }
        }
        panic!("portolan {}: not within {TRIES} tries", arguments.join(" "));
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let kubeconfig = self.stage.proxy.kubeconfig("team").to_string();
        fs::write(self.folder.join("kubeconfig"), kubeconfig).unwrap();
        let mut command = self.stage.world.plane.command(program());
        command.args(arguments).current_dir(&self.folder).stdin(Stdio::null());
        command
            .env("PORTOLAN_HOME", &self.home)
            .env("NO_COLOR", "1")
            .env_remove("RUST_LOG");
        command.env("KUBECONFIG", self.folder.join("kubeconfig"));
        command
    }

    /// With the images by the names that they have in the home.
    fn write(&self, name: &str, documents: &[Value]) {
        let texts: Vec<String> = documents.iter().map(Value::to_string).collect();
        let text = texts.join("\n---\n").replace(&format!("@{DIGEST}"), ":1");
        fs::write(self.folder.join(format!("{name}.yaml")), text).unwrap();
    }
}

fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr]
        .map(|text| String::from_utf8_lossy(text))
        .concat()
}

/// A home with the images, for each life to begin with.
fn home(stage: &Stage) -> PathBuf {
    let (home, source) = (stage.world.path("images"), stage.world.path("source"));
    fs::create_dir_all(&source).unwrap();
    fs::write(
        source.join("Dockerfile"),
        "FROM scratch\nCOPY serve /serve\nENTRYPOINT [\"/serve\"]\n",
    )
    .unwrap();
    fs::write(source.join("serve"), "nobody runs it\n").unwrap();
    for image in ["web", "other"] {
        let mut build = Command::new(program());
        let tag = format!("registry.example/{image}:1");
        build
            .args(["build", "--tag", &tag])
            .arg(&source)
            .env("PORTOLAN_HOME", &home);
        let output = build.output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
    }
    home
}

fn life(stage: &Stage, images: &Path, name: &str, armed: Armed) -> Life {
    let folder = stage.world.path(name);
    fs::create_dir_all(&folder).unwrap();
    let home = folder.join("home");
    let copied = Command::new("cp").arg("-r").arg(images).arg(&home).status();
    assert!(copied.unwrap().success());
    let commands = Commands { stage, home, folder };
    stage.lived(name, armed, || commands.lead())
}

#[test]
fn faults_of_all_sorts_change_nothing_that_commands_come_to() {
    let test = "faults_of_all_sorts_change_nothing_that_commands_come_to";
    let Some(stage) = Stage::open(test) else { return };
    let images = home(&stage);
    let record = life(&stage, &images, "record", Armed::default());
    is_as(&record, &life(&stage, &images, "mixed", of_all_sorts()), "mixed");
}

#[test]
#[ignore = "ten minutes"]
fn each_fault_at_each_call_changes_nothing_that_commands_come_to() {
    let test = "each_fault_at_each_call_changes_nothing_that_commands_come_to";
    let Some(stage) = Stage::open(test) else { return };
    let images = home(&stage);
    let record = life(&stage, &images, "record", Armed::default());
    let mut all = Vec::new();
    for (name, fault, armed) in each_by_itself() {
        let life = life(&stage, &images, &name, armed);
        is_as(&record, &life, &name);
        all.push((fault, life));
    }
    befall_something(&record, &all);
}
