//! A machine's network and the world outside it, as two namespaces that a veth pair joins.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sched::{CloneFlags, setns};

/// Where the world answers on port 8080 (TEST-NET-2).
pub const SERVER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
/// The machine's own address towards it.
pub const MACHINE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
/// The machine's link to the world.
pub const UPLINK: &str = "up0";

pub struct Outside {
    machine: String,
    world: String,
    folder: tempfile::TempDir,
}

impl Outside {
    pub fn new() -> Outside {
        static COUNT: std::sync::atomic::AtomicU8 = std::sync::atomic::AtomicU8::new(0);
        let number = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let of = |what: &str| format!("portolan-{what}-{}-{number}", std::process::id());
        let outside = Outside {
            machine: of("machine"),
            world: of("world"),
            folder: tempfile::tempdir().unwrap(),
        };
        let (machine, world) = (&outside.machine, &outside.world);
        for command in [
            format!("netns add {machine}"),
            format!("netns add {world}"),
            format!("-n {machine} link set lo up"),
            format!("-n {world} link set lo up"),
            format!("-n {machine} link add {UPLINK} type veth peer name eth0 netns {world}"),
            format!("-n {machine} addr add {MACHINE}/24 dev {UPLINK}"),
            format!("-n {world} addr add {SERVER}/24 dev eth0"),
            format!("-n {machine} link set {UPLINK} up"),
            format!("-n {world} link set eth0 up"),
            format!("-n {machine} route add default via {SERVER}"),
        ] {
            ip(&command);
        }
        outside.within(Path::new("/run/netns").join(world), serve);
        if let Some(server) = name_server() {
            ip(&format!("-n {world} addr add {server}/32 dev lo"));
            outside.within(Path::new("/run/netns").join(world), move || answer_names(server));
        }
        outside
    }

    /// A program in the place of `program` that runs it on this machine's network.
    pub fn on_the_machine(&self, program: &Path) -> PathBuf {
        let path = self.folder.path().join("inside");
        let text = format!(
            "#!/bin/sh\nexec nsenter --net=/run/netns/{} {} \"$@\"\n",
            self.machine,
            program.display()
        );
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    pub fn forwards(&self, link: &str) -> bool {
        let path = format!("/proc/sys/net/ipv4/conf/{link}/forwarding");
        let read = move || fs::read_to_string(path).unwrap_or_default();
        self.within(Path::new("/run/netns").join(&self.machine), read).trim() == "1"
    }

    fn within<T: Send + 'static>(&self, namespace: PathBuf, what: impl FnOnce() -> T + Send + 'static) -> T {
        within(namespace, what)
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        for name in [&self.machine, &self.world] {
            _ = Command::new("ip").args(["netns", "delete", name]).status();
        }
    }
}

/// On a thread of its own in that namespace.
pub fn within<T: Send + 'static>(namespace: PathBuf, what: impl FnOnce() -> T + Send + 'static) -> T {
    let inside = move || {
        setns(File::open(namespace).unwrap(), CloneFlags::CLONE_NEWNET).unwrap();
        what()
    };
    std::thread::spawn(inside).join().unwrap()
}

/// The body that `http://127.0.0.1:8080PATH` answers in the network of this process.
pub fn ask(pid: u32, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n");
    within(format!("/proc/{pid}/ns/net").into(), move || {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, 8080)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split_once("\r\n\r\n").unwrap().1.to_string()
    })
}

pub fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status();
    assert!(status.unwrap().success(), "ip {arguments}");
}

/// Says whom it sees; its thread ends with this program.
fn serve() {
    let listener = TcpListener::bind((SERVER, 8080)).unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().filter_map(Result::ok) {
            let body = format!("seen {}", stream.peer_addr().unwrap().ip());
            _ = stream.read(&mut [0; 1024]);
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            _ = stream.write_all((head + &body).as_bytes());
        }
    });
}

/// Every name is the server's.
fn answer_names(address: Ipv4Addr) {
    let socket = UdpSocket::bind((address, 53)).unwrap();
    std::thread::spawn(move || {
        let mut query = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut query) {
            // The header of an answer with one record (RFC 1035), then the question alone: what may follow is left out.
            let name = query[12..length].iter().position(|byte| *byte == 0).unwrap();
            let mut answer = query[..12 + name + 5].to_vec();
            answer[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
            answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
            answer.extend(SERVER.octets());
            _ = socket.send_to(&answer, from);
        }
    });
}

/// The one that this machine's own file names: containers are told the same.
pub fn name_server() -> Option<Ipv4Addr> {
    let text = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let servers = text
        .lines()
        .filter_map(|line| line.strip_prefix("nameserver ")?.trim().parse().ok());
    servers.into_iter().find(|address: &Ipv4Addr| !address.is_loopback())
}
