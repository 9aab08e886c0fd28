//! The page for people: how every app stands and what has happened, or one app alone. It renews itself, without any script,
//! and loads nothing from anywhere.

use std::fmt::Write;
use std::time::Duration;

use portolan_core::status::{ResourceStatus, StateWord};
use portolan_engine::EngineEvent;
use portolan_engine::controller::{AppReport, Standing, ToldEvent};
use portolan_engine::machine::Timestamp;

const STYLE: &str = include_str!("page.css");

/// Events that are shown, the newest.
const EVENTS: usize = 100;

/// The app that is to be shown alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Only<'a> {
    pub namespace: &'a str,
    pub app: &'a str,
}

impl Only<'_> {
    pub fn is(self, namespace: &str, app: &str) -> bool {
        self.namespace == namespace && self.app == app
    }
}

/// What is to be shown, at the moment `now`.
pub struct Shown<'a> {
    pub apps: &'a [AppReport],
    pub events: &'a [ToldEvent],
    pub only: Option<Only<'a>>,
    pub now: Timestamp,
}

pub fn of(shown: &Shown) -> String {
    let mut html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta http-equiv=\"refresh\" content=\"5\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>Portolan</title><style>{STYLE}</style></head>\
         <body>{}",
        heading(shown.only)
    );
    apps(shown, &mut html);
    events(shown, &mut html);
    html.push_str("</body></html>");
    html
}

fn heading(only: Option<Only>) -> String {
    only.map_or("<h1>Portolan</h1>".into(), |only| {
        let name = escaped(&format!("{}/{}", only.namespace, only.app));
        format!("<h1>{name}</h1><p><a href=\"/\">All apps</a></p>")
    })
}

fn apps(shown: &Shown, html: &mut String) {
    html.push_str("<table><tr><th>App<th>Target<th>Stands<th>Generation<th>Services</tr>");
    let wanted = |app: &&AppReport| shown.only.is_none_or(|only| only.is(&app.namespace, &app.app));
    for app in shown.apps.iter().filter(wanted) {
        _ = write!(
            html,
            "<tr><td>{}<td>{}<td>{}{}<td>{}<td>{}</tr>",
            link(&app.namespace, &app.app),
            escaped(&app.target),
            Tone::of_app(app.standing).colours(words(app.standing)),
            remark(app.message.as_deref()),
            app.generation,
            services(app)
        );
    }
    html.push_str("</table>");
}

fn events(shown: &Shown, html: &mut String) {
    html.push_str("<h2>What happened</h2><table><tr><th>When (UTC)<th>App<th>Target<th>What<th>Why</tr>");
    let wanted = |event: &&ToldEvent| shown.only.is_none_or(|only| only.is(&event.namespace, &event.app));
    for told in shown.events.iter().rev().filter(wanted).take(EVENTS) {
        _ = write!(
            html,
            "<tr><td>{} <span class=\"muted\">{}</span><td>{}<td>{}<td>{}<td>{}</tr>",
            time_of_day(told.at),
            told.at.age(shown.now),
            link(&told.namespace, &told.app),
            escaped(&told.target),
            Tone::of_event(&told.event).colours(&told.event.what()),
            why(&told.event)
        );
    }
    html.push_str("</table>");
}

fn link(namespace: &str, app: &str) -> String {
    let name = escaped(&format!("{namespace}/{app}"));
    format!("<a href=\"/apps/{name}\">{name}</a>")
}

fn why(event: &EngineEvent) -> String {
    event.because().map_or(String::new(), |because| {
        let reason = because.reason.map_or(String::new(), |reason| {
            format!("<span class=\"reason\">{}</span> ", escaped(reason))
        });
        format!("{reason}{}", escaped(&because.message))
    })
}

/// How something is to be taken: by a sign and a colour, beside the words that say the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tone {
    Good,
    Moving,
    Waiting,
    Bad,
}

impl Tone {
    fn of_app(standing: Standing) -> Self {
        match standing {
            Standing::Converged => Self::Good,
            Standing::Pending | Standing::Reconciling => Self::Moving,
            Standing::Paused | Standing::Suspended | Standing::AwaitingApproval => Self::Waiting,
            Standing::Held | Standing::Refused | Standing::Failing => Self::Bad,
        }
    }

    fn of_event(event: &EngineEvent) -> Self {
        match event {
            EngineEvent::Converged { .. } => Self::Good,
            EngineEvent::StateChanged { state, .. } => match state {
                StateWord::Ready | StateWord::Completed => Self::Good,
                StateWord::Absent | StateWord::Progressing | StateWord::Deleting => Self::Moving,
                StateWord::Failed => Self::Bad,
            },
            EngineEvent::AwaitingApproval { .. }
            | EngineEvent::StepWaiting { .. }
            | EngineEvent::StepRetrying { .. }
            | EngineEvent::ReadRetrying { .. }
            | EngineEvent::Interrupted => Self::Waiting,
            EngineEvent::RollingBack { .. } | EngineEvent::Held { .. } => Self::Bad,
            EngineEvent::ImageBuilding { .. }
            | EngineEvent::ImageLookup { .. }
            | EngineEvent::ImagePinned { .. }
            | EngineEvent::Planned { .. }
            | EngineEvent::StepStarted { .. }
            | EngineEvent::StepDone { .. }
            | EngineEvent::ReadSucceeded
            | EngineEvent::PlanningAnew { .. }
            | EngineEvent::Restoring { .. } => Self::Moving,
        }
    }

    fn colours(self, text: &str) -> String {
        let (class, sign) = match self {
            Self::Good => ("good", "&#10003;"),
            Self::Moving => ("moving", "&#8635;"),
            Self::Waiting => ("waiting", "&#8214;"),
            Self::Bad => ("bad", "&#10007;"),
        };
        format!(
            "<span class=\"{class}\"><span aria-hidden=\"true\">{sign}</span> {}</span>",
            escaped(text)
        )
    }
}

fn words(standing: Standing) -> &'static str {
    match standing {
        Standing::AwaitingApproval => "awaiting approval",
        other => other.word(),
    }
}

fn remark(message: Option<&str>) -> String {
    message.map_or(String::new(), |text| {
        format!("<br><span class=\"muted\">{}</span>", escaped(text))
    })
}

fn services(app: &AppReport) -> String {
    let resources = app.status.iter().flat_map(|status| &status.resources);
    let lines: Vec<String> = resources.map(service).collect();
    lines.join("<br>")
}

fn service(resource: &ResourceStatus) -> String {
    let counts = resource
        .replicas
        .map_or(String::new(), |count| format!(" {}/{}", count.ready, count.wanted));
    let endpoints: String = resource
        .endpoints
        .iter()
        .map(|endpoint| endpoint_of(endpoint))
        .collect();
    format!("{}{counts}{endpoints}", escaped(&resource.id.name))
}

/// A link only where it leads to a page.
fn endpoint_of(endpoint: &str) -> String {
    let is_page = ["http://", "https://"]
        .iter()
        .any(|scheme| endpoint.starts_with(scheme));
    let endpoint = escaped(endpoint);
    match is_page {
        true => format!(" <a href=\"{endpoint}\">{endpoint}</a>"),
        false => format!(" {endpoint}"),
    }
}

fn time_of_day(at: Timestamp) -> String {
    const DAY: u64 = 86_400;
    let second = Duration::from_millis(at.0).as_secs() % DAY;
    format!("{:02}:{:02}:{:02}", second / 3_600, second / 60 % 60, second % 60)
}

/// Names and messages come from manifests and targets: none of it is markup.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests;
