//! `portolan port-forward`: ports of this machine lead into an app, until Ctrl-C.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use portolan_core::diagnostic::Diagnostic;
use portolan_core::plan::Scope;
use portolan_provider_api::operations::ForwardRequest;
use portolan_provider_api::{CallError, PortForward};
use serde_json::json;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::args::{PortForwardArgs, PortPair};
use crate::failure::{self, CommandResult, Failure, exit};
use crate::interrupt;
use crate::manifests::select_one;
use crate::output::{Output, print};
use crate::session::Session;

/// Where connections go.
struct Way {
    forward: Arc<dyn PortForward>,
    scope: Scope,
    to: ForwardRequest,
}

pub async fn port_forward(arguments: PortForwardArgs, output: Output) -> CommandResult {
    let session = Session::open(output)?;
    let deployed = session.deployed(select_one(&arguments.one)?)?;
    let Some(forward) = deployed.provider.port_forward.clone() else {
        return Err(super::unsupported("port-forward", &deployed));
    };
    let scope = session.scope(&deployed).await?;
    for pair in &arguments.ports {
        let to = ForwardRequest {
            workload: arguments.service.clone(),
            replica: arguments.replica.clone(),
            port: pair.port,
        };
        let (forward, scope) = (forward.clone(), scope.clone());
        let way = Arc::new(Way { forward, scope, to });
        // What cannot be is told at once, and not to the first who connects.
        lead(&way, None).await?;
        let (listener, address) = listen(pair).await?;
        print(&shown(address, &way.to, output));
        tokio::spawn(serve(listener, way, output));
    }
    interrupt::interrupted(interrupt::listen()).await;
    Ok(exit::INTERRUPTED)
}

/// On this machine alone: whoever else reaches it is not meant to reach the app.
async fn listen(pair: &PortPair) -> Result<(TcpListener, SocketAddr), Failure> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, pair.local));
    let told = |error: io::Error| {
        Failure::new("AddressUnusable", format!("cannot listen on {address}"))
            .because(error.to_string())
            .hint("name another port, as in 9000:8080; 0 is one that is free")
    };
    let listener = TcpListener::bind(address).await.map_err(told)?;
    let address = listener.local_addr().map_err(told)?;
    Ok((listener, address))
}

fn shown(address: SocketAddr, to: &ForwardRequest, output: Output) -> String {
    match output.is_machine() {
        true => {
            let value = json!({ "address": address.to_string(), "service": to.workload, "port": to.port });
            format!("{value}\n")
        }
        false => format!("{address} leads to port {} of {}\n", to.port, to.workload),
    }
}

async fn serve(listener: TcpListener, way: Arc<Way>, output: Output) {
    while let Ok((socket, _)) = listener.accept().await {
        let way = way.clone();
        tokio::spawn(async move {
            if let Err(error) = lead(&way, Some(socket)).await {
                output.diagnostics(&[told(error)]);
            }
        });
    }
}

fn told(error: CallError) -> Diagnostic {
    failure::call(error)
}

/// As long as a refusal takes to come back, where nothing else does.
const REFUSAL: Duration = Duration::from_secs(1);

/// Leads one connection to its end; without one it is only tried.
async fn lead(way: &Way, socket: Option<TcpStream>) -> Result<(), CallError> {
    let mut forwarded = way.forward.connect(&way.scope, &way.to).await?;
    if let Some(mut socket) = socket {
        // How it ends is nobody's fault but the two sides'.
        _ = copy_bidirectional(&mut socket, &mut forwarded.stream).await;
        drop(forwarded.stream);
    }
    match timeout(REFUSAL, forwarded.failure).await {
        Ok(Ok(refused)) => Err(refused),
        _ => Ok(()),
    }
}
