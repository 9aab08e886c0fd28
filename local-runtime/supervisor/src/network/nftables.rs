//! One table of nf_tables at a time, by nfnetlink: no program is called, for a fresh machine has none.
//!
//! A batch is a transaction: all of a table is there at once, or nothing of it has changed. Numbers are those of
//! `linux/netfilter/nf_tables.h`; values that cross the border are in network order, but for what registers hold.

use std::collections::BTreeMap;
use std::io;

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};

use super::firewall::{Chain, Compare, Expression, Link, Table};
use super::wire::{Message, attributes, text_of};

const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const SUBSYSTEM: u16 = 10;
const NEW_TABLE: u16 = SUBSYSTEM << 8;
const GET_TABLE: u16 = SUBSYSTEM << 8 | 1;
const DELETE_TABLE: u16 = SUBSYSTEM << 8 | 2;
const NEW_CHAIN: u16 = SUBSYSTEM << 8 | 3;
const NEW_RULE: u16 = SUBSYSTEM << 8 | 6;

const TABLE_NAME: u16 = 1;
const TABLE_USERDATA: u16 = 6;
/// Any data of a table's creator; this is how `nft` marks the comment that it shows.
const USERDATA_COMMENT: u8 = 0;

const FAMILY_IPV4: u8 = 2;
const EXCLUSIVE: u16 = 0x200;
const CREATE: u16 = 0x400;
const APPEND: u16 = 0x800;
const ACKNOWLEDGE: u16 = 0x4;
const DUMP: u16 = 0x300;
const MESSAGE_ERROR: u16 = 2;
const MESSAGE_DONE: u16 = 3;

/// A socket in the network namespace of the thread that opened it.
pub struct Nftables {
    socket: Socket,
}

impl Nftables {
    pub fn open() -> io::Result<Nftables> {
        let mut socket = Socket::new(NETLINK_NETFILTER)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Nftables { socket })
    }

    /// Makes the table, of whose name there is none.
    ///
    /// It replaces nothing, because the kernel waits some milliseconds for the readers of what is deleted, and whoever makes
    /// links meanwhile waits as well.
    pub fn create(&mut self, table: &Table) -> io::Result<()> {
        self.write(vec![new_table(table).flagged(EXCLUSIVE)], table)
    }

    /// Puts the table in the place of the one of its name.
    pub fn replace(&mut self, table: &Table) -> io::Result<()> {
        let gone = [named(NEW_TABLE, &table.name), named(DELETE_TABLE, &table.name)];
        self.write(gone.into_iter().chain([new_table(table)]).collect(), table)
    }

    fn write(&mut self, mut messages: Vec<Message>, table: &Table) -> io::Result<()> {
        for chain in &table.chains {
            messages.push(new_chain(&table.name, chain));
            messages.extend(chain.rules.iter().map(|rule| new_rule(&table.name, chain.name, rule)));
        }
        self.transact(messages)
    }

    /// One that is not there is success: it is made first, in the same transaction.
    pub fn remove(&mut self, table: &str) -> io::Result<()> {
        self.transact(vec![named(NEW_TABLE, table), named(DELETE_TABLE, table)])
    }

    /// The comments of all tables, by the tables' names.
    pub fn comments(&mut self) -> io::Result<BTreeMap<String, String>> {
        self.socket
            .send(&Message::new(GET_TABLE, DUMP, FAMILY_IPV4).bytes(1), 0)?;
        let mut comments = BTreeMap::new();
        loop {
            let (bytes, _) = self.socket.recv_from_full()?;
            for (kind, body) in messages_in(&bytes) {
                match kind {
                    MESSAGE_DONE => return Ok(comments),
                    MESSAGE_ERROR => acknowledged(body)?,
                    NEW_TABLE => comments.extend(comment_of(body)),
                    _ => {}
                }
            }
        }
    }

    /// The kernel names the first message that it refuses, and otherwise acknowledges the last one.
    fn transact(&mut self, messages: Vec<Message>) -> io::Result<()> {
        let last = messages.len();
        let mut bytes = Message::border(BATCH_BEGIN, SUBSYSTEM).bytes(0);
        for (number, message) in (1..).zip(messages) {
            let message = if number == last {
                message.flagged(ACKNOWLEDGE)
            } else {
                message
            };
            bytes.extend(message.bytes(number as u32));
        }
        bytes.extend(Message::border(BATCH_END, SUBSYSTEM).bytes(last as u32 + 1));
        self.socket.send(&bytes, 0)?;
        let (answer, _) = self.socket.recv_from_full()?;
        messages_in(&answer)
            .filter(|(kind, _)| *kind == MESSAGE_ERROR)
            .try_for_each(|(_, body)| acknowledged(body))
    }
}

/// Kind and body of each netlink message.
fn messages_in(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let header = rest.get(..16)?;
        let length = u32::from_ne_bytes(header[..4].try_into().ok()?) as usize;
        let kind = u16::from_ne_bytes(header[4..6].try_into().ok()?);
        let body = rest.get(16..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, body))
    })
}

/// The error's number, negative; 0 stands for success.
fn acknowledged(body: &[u8]) -> io::Result<()> {
    let code = body
        .first_chunk()
        .map_or(-nix::libc::EPROTO, |code| i32::from_ne_bytes(*code));
    if code == 0 {
        Ok(())
    } else {
        Err(io::Error::from_raw_os_error(-code))
    }
}

fn comment_of(body: &[u8]) -> Option<(String, String)> {
    let (mut name, mut comment) = (None, String::new());
    for (kind, value) in attributes(body.get(4..)?) {
        match (kind, value) {
            (TABLE_NAME, value) => name = Some(text_of(value)),
            (TABLE_USERDATA, [USERDATA_COMMENT, _, text @ ..]) => comment = text_of(text),
            _ => {}
        }
    }
    Some((name?, comment))
}

fn named(kind: u16, table: &str) -> Message {
    let flags = if kind == NEW_TABLE { CREATE } else { 0 };
    Message::new(kind, flags, FAMILY_IPV4).text(TABLE_NAME, table)
}

fn new_table(table: &Table) -> Message {
    let mut userdata = vec![USERDATA_COMMENT, table.comment.len() as u8 + 1];
    userdata.extend(table.comment.bytes().chain([0]));
    named(NEW_TABLE, &table.name).value(TABLE_USERDATA, &userdata)
}

fn new_chain(table: &str, chain: &Chain) -> Message {
    let hook = |m: Message| m.number(1, chain.hook).number(2, chain.priority as u32);
    let message = Message::new(NEW_CHAIN, CREATE, FAMILY_IPV4)
        .text(1, table)
        .text(3, chain.name);
    message.nested(4, hook).text(7, chain.kind)
}

fn new_rule(table: &str, chain: &str, rule: &[Expression]) -> Message {
    let expressions = |m: Message| rule.iter().fold(m, expression);
    let message = Message::new(NEW_RULE, CREATE | APPEND, FAMILY_IPV4)
        .text(1, table)
        .text(2, chain);
    message.nested(4, expressions)
}

const IN_NAME: u32 = 6;
const OUT_NAME: u32 = 7;
/// Where the addresses stand in the header of IPv4.
const SOURCE: u32 = 12;
const DESTINATION: u32 = 16;
const STATE: u32 = 0;
const STATUS: u32 = 2;
const ESTABLISHED_OR_RELATED: u32 = 2 | 4;
const DESTINATION_TRANSLATED: u32 = 1 << 5;
const DROP: u32 = 0;
const ACCEPT: u32 = 1;

fn expression(rule: Message, expression: &Expression) -> Message {
    match expression {
        Expression::Input(compare, link) => link_is(rule, IN_NAME, *compare, link),
        Expression::Output(compare, link) => link_is(rule, OUT_NAME, *compare, link),
        Expression::Source(compare, subnet) => address_is(rule, SOURCE, *compare, &subnet.0.octets()[..3]),
        Expression::Destination(compare, subnet) => address_is(rule, DESTINATION, *compare, &subnet.0.octets()[..3]),
        Expression::Opens => connection_is_not(rule, STATE, ESTABLISHED_OR_RELATED),
        Expression::NotTranslated => connection_is_not(rule, STATUS, DESTINATION_TRANSLATED),
        Expression::Accept => verdict(rule, ACCEPT),
        Expression::Drop => verdict(rule, DROP),
        Expression::Masquerade => element(rule, "masq", |m| m),
    }
}

/// The kernel compares whole names with their padding, and a beginning alone by as many bytes.
fn link_is(rule: Message, key: u32, compare: Compare, link: &Link) -> Message {
    let name = match link {
        Link::Named(name) => name.bytes().chain(std::iter::repeat(0)).take(16).collect(),
        Link::Beginning(name) => name.as_bytes().to_vec(),
    };
    let rule = element(rule, "meta", |m| m.number(1, 1).number(2, key));
    compared(rule, compare, &name)
}

/// A /24 is three whole bytes.
fn address_is(rule: Message, offset: u32, compare: Compare, beginning: &[u8]) -> Message {
    let length = beginning.len() as u32;
    let load = |m: Message| m.number(1, 1).number(2, 1).number(3, offset).number(4, length);
    compared(element(rule, "payload", load), compare, beginning)
}

/// Whether none of the bits is set.
fn connection_is_not(rule: Message, key: u32, bits: u32) -> Message {
    let data = |bytes: [u8; 4]| move |m: Message| m.value(1, &bytes);
    let rule = element(rule, "ct", |m| m.number(1, 1).number(2, key));
    let mask = |m: Message| {
        let m = m.number(1, 1).number(2, 1).number(3, 4);
        m.nested(4, data(bits.to_ne_bytes())).nested(5, data([0; 4]))
    };
    compared(element(rule, "bitwise", mask), Compare::Is, &[0; 4])
}

fn compared(rule: Message, compare: Compare, value: &[u8]) -> Message {
    let operator = match compare {
        Compare::Is => 0,
        Compare::IsNot => 1,
    };
    element(rule, "cmp", |m| {
        m.number(1, 1).number(2, operator).nested(3, |m| m.value(1, value))
    })
}

fn verdict(rule: Message, code: u32) -> Message {
    element(rule, "immediate", |m| {
        m.number(1, 0).nested(2, |m| m.nested(2, |m| m.number(1, code)))
    })
}

fn element(rule: Message, name: &str, data: impl FnOnce(Message) -> Message) -> Message {
    rule.nested(1, |m| m.text(1, name).nested(2, data))
}
