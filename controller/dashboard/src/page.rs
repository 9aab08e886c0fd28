//! The page for people: a table that renews itself, without any script.

use std::fmt::Write;

use portolan_engine::controller::{AppReport, ToldEvent};

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;\
color:CanvasText;background:Canvas;color-scheme:light dark}table{border-collapse:collapse;width:100%}\
th,td{text-align:left;padding:.35rem .8rem .35rem 0;border-bottom:1px solid color-mix(in srgb,CanvasText 15%,Canvas);\
vertical-align:top}.muted{opacity:.65}";

/// Events that are shown.
const EVENTS: usize = 20;

pub fn of(apps: &[AppReport], events: &[ToldEvent]) -> String {
    let mut html = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta http-equiv=\"refresh\" content=\"5\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>Portolan</title><style>{STYLE}</style>\
         <h1>Portolan</h1><table><tr><th>App<th>Target<th>Stands<th>Generation<th>Services</tr>"
    );
    for app in apps {
        _ = write!(
            html,
            "<tr><td>{}<td>{}<td>{} {}{}<td>{}<td>{}</tr>",
            escaped(&format!("{}/{}", app.namespace, app.app)),
            escaped(&app.target),
            sign(app),
            app.standing.word(),
            remark(app),
            app.generation,
            services(app)
        );
    }
    html.push_str("</table><h2>What happened</h2><table>");
    for event in events.iter().rev().take(EVENTS) {
        let said = serde_text(event);
        _ = write!(
            html,
            "<tr><td>{}<td class=\"muted\">{}</tr>",
            escaped(&event.app),
            escaped(&said)
        );
    }
    html.push_str("</table></html>");
    html
}

/// Beside the word, which says the same.
fn sign(app: &AppReport) -> &'static str {
    use portolan_engine::controller::Standing;
    match app.standing {
        Standing::Converged => "&#10003;",
        Standing::Pending | Standing::Reconciling => "&#8635;",
        Standing::Paused | Standing::Suspended | Standing::AwaitingApproval => "&#8214;",
        Standing::Held | Standing::Refused | Standing::Failing => "&#10007;",
    }
}

fn remark(app: &AppReport) -> String {
    let message = app.message.as_deref();
    message.map_or(String::new(), |text| {
        format!("<br><span class=\"muted\">{}</span>", escaped(text))
    })
}

fn services(app: &AppReport) -> String {
    let Some(status) = &app.status else {
        return String::new();
    };
    let line = |resource: &portolan_core::status::ResourceStatus| {
        let counts = resource
            .replicas
            .map_or(String::new(), |count| format!(" {}/{}", count.ready, count.wanted));
        let links = resource.endpoints.iter().map(|endpoint| {
            let endpoint = escaped(endpoint);
            format!(" <a href=\"{endpoint}\">{endpoint}</a>")
        });
        format!("{}{counts}{}", escaped(&resource.id.name), links.collect::<String>())
    };
    let lines: Vec<String> = status.resources.iter().map(line).collect();
    lines.join("<br>")
}

fn serde_text(event: &ToldEvent) -> String {
    serde_json::to_string(&event.event).unwrap_or_default()
}

/// Names and messages come from manifests and targets: none of it is markup.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_shown_is_markup() {
        assert_eq!(
            escaped(r#"<img src="x" onerror=alert(1)>&"#),
            "&lt;img src=&quot;x&quot; onerror=alert(1)&gt;&amp;"
        );
    }
}
