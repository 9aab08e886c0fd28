//! `examples/shop` on real pods: a kubelet, containerd, kube-proxy and DNS on a node of the test's own, images that
//! Portolan has built and pushed, and the programs that a user runs, from the first `apply` to the last `delete`.

// A panic is how a test fails.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod harbour;
mod load;
mod object;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use harbour::{Built, Harbour, LIMIT, PLACE};
use load::{Kept, while_asked};
use portolan_cluster::{Node, leftovers};
use portolan_tests::program;
use portolan_tests::wait::until;
use serde_json::json;

/// Without a load on the machine it is a few; what takes longer than this has waited for another limit than its cause.
const SECONDS: Duration = Duration::from_secs(60);

const HEADLINE: &str = "Charts, compasses and cordage";

#[test]
fn a_shop_lives_on_real_pods() {
    let Some(mut shop) = Harbour::open("a_shop_lives_on_real_pods", Node::start) else {
        return;
    };
    comes_up(&mut shop);
    status_and_logs_tell_the_truth(&shop);
    is_looked_into(&shop);
    a_job_runs_again(&shop);
    unchanged_is_silent(&shop);
    an_update_costs_no_request(&mut shop);
    breaks_and_says_why(&mut shop);
    goes_back_and_forward(&shop);
    a_canary_answers_for_its_share(&mut shop);
    blue_and_green_cost_no_request(&mut shop);
    scales(&mut shop);
    data_outlives_a_delete(&shop);
    so_does_the_example_for_clusters(&shop);
    leaves_nothing(shop);
}

#[test]
fn a_shop_lives_in_containers_of_our_own_runtime() {
    let runtime = program("portolan-runtime");
    let test = "a_shop_lives_in_containers_of_our_own_runtime";
    let Some(mut shop) = Harbour::open(test, || Node::with_runtime(&runtime)) else {
        return;
    };
    comes_up(&mut shop);
    status_and_logs_tell_the_truth(&shop);
    is_looked_into(&shop);
    an_update_costs_no_request(&mut shop);
    let serving = shop.whoami()[1].clone();
    a_crash_loop(&mut shop, &serving);
    goes_back_and_forward(&shop);
    data_outlives_a_delete(&shop);
    leaves_nothing(shop);
}

#[test]
fn a_shop_that_is_an_object_lives_on_real_pods() {
    let test = "a_shop_that_is_an_object_lives_on_real_pods";
    let Some(mut shop) = Harbour::open(test, Node::start) else {
        return;
    };
    object::lives_as_an_object(&mut shop);
    leaves_nothing(shop);
}

fn comes_up(shop: &mut Harbour) {
    shop.edit("catalog/catalog.c", CATALOG, &format!("{ECHO}{CATALOG}"));
    shop.edit("catalog/catalog.c", CATALOG, &format!("{CATALOG}{ECHOES}"));
    let images = shop.build();
    shop.push(&images);
    shop.use_images(&images);
    // How long the endpoints take to every node is not the shop's to know, and this node has little to run on.
    shop.set("services/web/stop/drain", json!("5s"));
    let report = timed("the first apply", || shop.report(&["apply"]));
    assert_eq!(
        (&report["outcome"], &report["changed"]),
        (&"converged".into(), &true.into()),
        "{report}"
    );
    replicas(shop, 2);
    let page = shop.curl("/", &[]);
    for (part, reason) in [
        (
            "A brass astrolabe",
            "the catalog is found by its name, and the migration ran before it",
        ),
        ("requests ", "the sidecar answers on the replica's own address"),
        ("font: 18px", "the file is where the manifest puts it"),
    ] {
        assert!(page.contains(part), "{reason}: {page}");
    }
    add_item(shop, "A sextant");
}

/// The secret that kubectl has made has its value in the container.
fn add_item(shop: &Harbour, item: &str) {
    let token = "Authorization: Bearer open-sesame";
    shop.curl("/items", &["--header", token, "--data", item]);
    assert!(shop.curl("/", &[]).contains(item));
}

fn status_and_logs_tell_the_truth(shop: &Harbour) {
    let status = shop.says(&["status"], 0);
    for part in ["Ready", "2/2", "completed"] {
        assert!(status.contains(part), "no `{part}` in {status}");
    }
    let mut written = String::new();
    until("both replicas have written", LIMIT, || {
        written = shop.says(&["logs", "web"], 0);
        (written.matches("web: listening on port 8080").count() == 2).then_some(())
    });
    assert!(written.contains("GET /whoami 200"), "{written}");
    let migration = shop.says(&["logs", "migrate"], 0);
    assert_eq!(migration.matches("the data is as revision").count(), 1, "{migration}");
    for said in [status, written, shop.says(&["plan", "-o", "json"], 0)] {
        assert!(!said.contains("open-sesame"), "the secret is said: {said}");
    }
}

const CATALOG: &str = "int main(int count, char **arguments) {\n";

/// What the catalog does for `/catalog echo`: it tells its terminal, or what is piped into it.
const ECHO: &str = r#"
#include <sys/ioctl.h>
static int echo(void) {
    struct winsize size = {0};
    if (isatty(0)) {
        while (ioctl(0, TIOCGWINSZ, &size) == 0 && size.ws_col == 0) usleep(10000);
        printf("%d columns, %d rows\n", size.ws_col, size.ws_row);
        return 0;
    }
    for (int c; (c = getchar()) != EOF;) putchar(c);
    fputs("that was all\n", stderr);
    return 7;
}
"#;
const ECHOES: &str = "    if (count > 1 && !strcmp(arguments[1], \"echo\")) return echo();\n";

/// Commands in a container: streams, terminal, exit code, and what cannot be entered.
fn is_looked_into(shop: &Harbour) {
    let check = ["exec", "catalog", "--", "/catalog", "check"];
    until("the catalog is ready", LIMIT, || {
        (shop.portolan(&check).status.code() == Some(0)).then_some(())
    });
    let echo = ["exec", "catalog", "--", "/catalog", "echo"];
    let sent = "a line\n".repeat(40_000);
    let echoed = shop.fed(&echo, &sent);
    assert_eq!(echoed.status.code(), Some(7));
    assert_eq!(echoed.stdout.len(), sent.len(), "all that is piped in comes back");
    assert_eq!(String::from_utf8_lossy(&echoed.stderr).trim(), "that was all");
    let seen = shop.at_a_terminal("stty cols 91 rows 33", &echo);
    assert!(seen.contains("91 columns, 33 rows"), "{seen}");
    is_reached_by_a_port_of_this_machine(shop);
    for (service, program, code, exit) in [
        ("nothing", "/catalog", "NotRunning", 1),
        ("catalog", "/nowhere", "StartFailed", 125),
    ] {
        let said = shop.says(&["exec", service, "--", program], exit);
        let error = format!("error[{code}]: ");
        assert!(said.contains(&error) && said.contains("hint: "), "no {error}in {said}");
    }
}

/// What is asked there is answered by the service, one connection after the other.
fn is_reached_by_a_port_of_this_machine(shop: &Harbour) {
    let (address, guard) = shop.forwarded(&["port-forward", "web", "0:8080"]);
    for _ in 0..2 {
        let url = format!("http://{address}/whoami");
        let answer = shop
            .node
            .run("curl", &["--silent", "--fail", "--max-time", "10", &url])
            .unwrap();
        assert!(answer.contains("headline "), "{answer}");
    }
    drop(guard);
    let said = shop.says(&["port-forward", "web", "0:81"], 1);
    assert!(said.contains("error[PortClosed]: port 81 of "), "{said}");
}

/// By another Job.
fn a_job_runs_again(shop: &Harbour) {
    let job = || {
        let of_it = [
            "-l=app.kubernetes.io/name=migrate",
            "-o=jsonpath={.items[*].metadata.uid}",
        ];
        shop.kubectl(&[&["get", "jobs", "-n", PLACE][..], &of_it].concat())
    };
    let before = job();
    let said = shop.says(&["run", "migrate"], 0);
    assert!(said.contains("has completed"), "{said}");
    let words = said.matches("the data is as revision").count();
    assert_eq!(words, 1, "what it printed is told, however soon it ended: {said}");
    assert!(
        job() != before && !job().contains(' '),
        "it has taken the place of {before}"
    );
}

fn unchanged_is_silent(shop: &Harbour) {
    assert!(shop.says(&["plan"], 0).contains("no changes"));
    let report = shop.report(&["apply"]);
    assert_eq!(
        (&report["outcome"], &report["changed"]),
        (&"converged".into(), &false.into()),
        "{report}"
    );
}

/// Each way to hold a connection meets an update of its own.
fn an_update_costs_no_request(shop: &mut Harbour) {
    let mut headline = HEADLINE.to_string();
    for (kept, next) in [(Kept::Open, "Maps and compasses"), (Kept::Closed, "Maps and sextants")] {
        let [_, before, _] = shop.whoami();
        shop.edit("web/web.c", &headline, next);
        let images = shop.build();
        shop.push(&images);
        shop.use_images(&images);
        let plan = shop.says(&["plan"], 2);
        assert!(plan.contains("0 to create, 1 to update, 0 to delete"), "{plan}");
        while_asked(shop, kept, || {
            let report = timed("an update under load", || shop.report(&["apply"]));
            assert_eq!(report["outcome"], "converged", "{report}");
            only_one_revision_answers(shop);
        });
        let [_, after, said] = shop.whoami();
        assert_ne!(before, after);
        assert_eq!(said, next);
        headline = next.to_string();
    }
    assert!(
        shop.curl("/", &[]).contains("A sextant"),
        "the volume outlives an update"
    );
}

/// Pods that are on their way out answer until they have been taken out of the Service.
fn only_one_revision_answers(shop: &Harbour) {
    let pods = ["get", "pods", "-n", PLACE, "-l=app.kubernetes.io/name=web", "-o=name"];
    until("the old pods have ended", LIMIT, || {
        (shop.kubectl(&pods).lines().count() == 2).then_some(())
    });
}

fn breaks_and_says_why(shop: &mut Harbour) {
    let serving = shop.whoami()[1].clone();
    an_image_that_is_missing(shop, &serving);
    a_crash_loop(shop, &serving);
    a_probe_that_never_succeeds(shop, &serving);
    too_much_for_the_quota(shop, &serving);
}

/// Built, and never pushed.
fn an_image_that_is_missing(shop: &mut Harbour, serving: &str) {
    let [headline, lost] = ["#define HEADLINE \"", "#define HEADLINE \"Lost: "];
    shop.edit("web/web.c", headline, lost);
    let images = shop.build();
    shop.edit("web/web.c", lost, headline);
    let web = images.iter().find(|image| image.container == "services/web").unwrap();
    let cause = format!("container `web`: cannot have the image {}: not found", web.reference());
    fails(shop, &images, "ImageNotFound", &[&cause], serving);
}

fn a_crash_loop(shop: &mut Harbour, serving: &str) {
    let broken = "int main(void) {\n    fputs(\"web: there is no chart aboard\\n\", stderr);\n    return 3;\n";
    shop.edit("web/web.c", "int main(void) {\n", broken);
    let images = shop.build();
    shop.edit("web/web.c", broken, "int main(void) {\n");
    shop.push(&images);
    let causes = [
        "container `web` ended with exit code 3",
        "  | web: there is no chart aboard",
    ];
    fails(shop, &images, "CrashLoopBackOff", &causes, serving);
}

fn a_probe_that_never_succeeds(shop: &mut Harbour, serving: &str) {
    shop.set("services/web/health/ready/http/path", json!("/nowhere"));
    shop.set("services/web/rollout/deadline", json!("8s"));
    let causes = ["not ready within its deadline: container `web` runs and its readiness probe GET /nowhere"];
    fails(shop, &[], "ProbeFailed", &causes, serving);
    shop.unset("services/web/health/ready");
    shop.unset("services/web/rollout");
}

/// As many pods as there are: nothing that is updated without a gap fits.
fn too_much_for_the_quota(shop: &mut Harbour, serving: &str) {
    shop.kubectl(&["create", "quota", "few", "--hard=pods=3", "-n", PLACE]);
    shop.set("services/web/env/GREETING", json!("Welcome to the quota."));
    let causes = ["exceeded quota: few", "limited: pods=3"];
    fails(shop, &[], "QuotaExceeded", &causes, serving);
    shop.kubectl(&["delete", "quota", "few", "-n", PLACE]);
    let said = timed("a retry", || shop.says(&["retry"], 0));
    assert!(
        said.contains(": Ready"),
        "its cause outside the manifest is mended: {said}"
    );
    only_one_revision_answers(shop);
    assert_ne!(shop.whoami()[1], serving);
    shop.unset("services/web/env");
    assert_eq!(shop.report(&["apply"])["outcome"], "converged");
    only_one_revision_answers(shop);
    assert_eq!(
        shop.whoami()[1],
        serving,
        "what is said again is the same revision again"
    );
}

/// The command ends in seconds with the cause, all requests are answered meanwhile, the old revision serves on, and
/// nobody tries the new one again by himself. Afterwards the manifest is as it was.
fn fails(shop: &mut Harbour, images: &[Built], code: &str, causes: &[&str], serving: &str) {
    let before = shop.manifest();
    shop.use_images(images);
    let start = Instant::now();
    let said = while_asked(shop, Kept::Closed, || timed(code, || shop.says(&["apply"], 1)));
    assert!(start.elapsed() < SECONDS, "{:?}: {said}", start.elapsed());
    let error = format!("error[{code}]: shop on cluster: ");
    let line = said.lines().find(|line| line.starts_with(&error));
    let line = line.unwrap_or_else(|| panic!("no {error}in {said}"));
    assert!(line.contains(causes[0]), "no `{}` in {line}", causes[0]);
    for cause in causes {
        assert!(said.contains(cause), "no `{cause}` in {said}");
    }
    assert!(said.contains("serves again"), "{said}");
    assert_eq!(shop.whoami()[1], serving, "the old revision serves");
    let status = shop.says(&["status"], 0);
    assert!(
        status.contains(&format!("held, an older one serves: {code}")),
        "{status}"
    );
    let held = shop.portolan(&["wait"]);
    assert_eq!(held.status.code(), Some(1), "nobody waits for what is held");
    assert_eq!(shop.whoami()[1], serving, "the old revision serves");
    shop.restore(before);
}

fn goes_back_and_forward(shop: &Harbour) {
    let [_, newest, _] = shop.whoami();
    while_asked(shop, Kept::Closed, || {
        let back = timed("a rollback", || shop.report(&["rollback", "--yes", "--to", "1"]));
        assert_eq!(back["outcome"], "converged", "{back}");
        only_one_revision_answers(shop);
    });
    let [_, first, headline] = shop.whoami();
    assert_eq!(headline, HEADLINE, "the image is the one of then");
    assert_ne!(first, newest);
    assert_eq!(shop.report(&["apply"])["outcome"], "converged");
    only_one_revision_answers(shop);
    assert_eq!(
        shop.whoami()[1],
        newest,
        "`apply` brings what the manifest says, as ever"
    );
}

/// Half of the replicas, until somebody says yes.
fn a_canary_answers_for_its_share(shop: &mut Harbour) {
    let before = shop.manifest();
    let [_, old, _] = shop.whoami();
    let canary = json!({ "strategy": "canary", "steps": [{ "weight": "30%", "pause": "1s" }, { "weight": "50%" }] });
    shop.set("services/web/rollout", canary);
    shop.set("services/web/env/GREETING", json!("A canary."));
    while_asked(shop, Kept::Closed, || {
        let said = timed("a canary", || shop.says(&["apply"], 0));
        assert!(said.contains("paused; `portolan promote shop` goes on"), "{said}");
    });
    let answers: Vec<String> = (0..60).map(|_| shop.whoami()[1].clone()).collect();
    let revisions: BTreeSet<&String> = answers.iter().collect();
    assert!(
        revisions.len() == 2 && revisions.contains(&old),
        "both answer: {revisions:?}"
    );
    let status = shop.says(&["status"], 0);
    assert!(
        status.contains("step 2 of 2: 2 of 4 replicas are of the new revision"),
        "{status}"
    );
    while_asked(shop, Kept::Closed, || {
        let said = timed("a promotion", || shop.says(&["promote"], 0));
        assert!(said.contains(": Ready"), "{said}");
        only_one_revision_answers(shop);
    });
    assert_ne!(shop.whoami()[1], old);
    unchanged_is_silent(shop);
    while_asked(shop, Kept::Closed, || {
        let said = timed("back from a canary", || shop.says(&["rollback", "--yes"], 0));
        assert!(said.contains(": Ready"), "{said}");
        only_one_revision_answers(shop);
    });
    shop.restore(before);
    assert_eq!(shop.report(&["apply"])["outcome"], "converged");
    assert_eq!(shop.whoami()[1], old);
}

fn blue_and_green_cost_no_request(shop: &mut Harbour) {
    let before = shop.manifest();
    shop.set("services/web/rollout", json!({ "strategy": "blueGreen" }));
    for (kept, greeting) in [(Kept::Closed, "Green."), (Kept::Open, "And blue.")] {
        let [_, old, _] = shop.whoami();
        shop.set("services/web/env/GREETING", json!(greeting));
        while_asked(shop, kept, || {
            let report = timed("a switch", || shop.report(&["apply"]));
            assert_eq!(report["outcome"], "converged", "{report}");
            only_one_revision_answers(shop);
        });
        assert_ne!(shop.whoami()[1], old);
    }
    shop.restore(before);
    assert_eq!(shop.report(&["apply"])["outcome"], "converged");
    only_one_revision_answers(shop);
}

fn scales(shop: &mut Harbour) {
    let [_, before, _] = shop.whoami();
    shop.set("services/web/scale/min", json!(3));
    let plan = shop.says(&["plan"], 2);
    assert!(plan.contains("replicas: 2 -> 3"), "{plan}");
    shop.report(&["apply"]);
    replicas(shop, 3);
    assert!(shop.says(&["status"], 0).contains("3/3"));
    assert_eq!(shop.whoami()[1], before, "the same revision, one replica more");
    shop.unset("services/web/scale");
    shop.report(&["apply"]);
    only_one_revision_answers(shop);
}

/// Waits until so many different replicas have answered.
fn replicas(shop: &Harbour, count: usize) {
    let mut seen = BTreeSet::new();
    until(&format!("{count} replicas answer"), LIMIT, || {
        seen.insert(shop.whoami()[0].clone());
        (seen.len() == count).then_some(())
    });
}

fn data_outlives_a_delete(shop: &Harbour) {
    timed("a delete", || shop.says(&["delete", "--yes"], 0));
    shop.leaves(&["persistentvolumeclaim"]);
    assert_eq!(shop.report(&["apply"])["outcome"], "converged");
    assert!(shop.curl("/", &[]).contains("A sextant"), "it goes on where it was");
    shop.says(&["delete", "--yes", "--volumes"], 0);
    shop.leaves(&[]);
}

/// `examples/kubernetes`, as its README says, with this registry's name in it.
fn so_does_the_example_for_clusters(shop: &Harbour) {
    shop.kubectl(&["create", "namespace", "harbour"]);
    let (image, folder) = shop.example("kubernetes", "hello");
    let file = ["--file", folder.to_str().unwrap()];
    let report = shop.report(&[&["apply"][..], &file].concat());
    assert_eq!(report["outcome"], "converged", "{report}");
    let ip = "-o=jsonpath={.items[0].spec.clusterIP}";
    let address = shop.kubectl(&["get", "services", "-n", "harbour", ip]);
    let url = format!("http://{address}:8090/");
    let answer = shop.node.run("curl", &["--silent", "--fail", &url]).unwrap();
    assert!(answer.starts_with("hello from hello, revision "), "{image}: {answer}");
    shop.says(&[&["delete", "--yes"][..], &file].concat(), 0);
    shop.leaves_in("harbour", "hello", &[]);
}

/// Of the cluster, of the registry and of the shop: all of them say one of these folders' names.
fn leaves_nothing(shop: Harbour) {
    let folders = shop.folders();
    drop(shop);
    for folder in folders {
        assert_eq!(leftovers::of(&folder), [""; 0]);
    }
}

/// Says how long it took, for whoever reads the log.
fn timed<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let done = work();
    println!("{what}: {:.1} s", start.elapsed().as_secs_f64());
    done
}
