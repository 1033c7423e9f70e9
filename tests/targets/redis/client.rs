//! Speaks the protocol of Redis itself: nothing that Hookline is built with shows what it has done.

use crate::target::Delivered;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Text(String),
    Number(i64),
    List(Vec<Reply>),
    Error(String),
    Nothing,
}

pub(crate) struct Client {
    stream: BufReader<TcpStream>,
}

/// An entry as it lies in a stream.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) id: String,
    pub(crate) fields: BTreeMap<String, String>,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Option<Client> {
        let stream = TcpStream::connect(address).ok()?;
        stream.set_read_timeout(Some(WAIT)).expect("settable");
        Some(Client {
            stream: BufReader::new(stream),
        })
    }

    pub(crate) fn ask(&mut self, words: &[&str]) -> Reply {
        self.try_ask(words).expect("an answer")
    }

    pub(crate) fn try_ask(&mut self, words: &[&str]) -> Option<Reply> {
        let mut command = format!("*{}\r\n", words.len());
        for word in words {
            // A string takes everything.
            let _ = write!(command, "${}\r\n{word}\r\n", word.len());
        }
        self.stream.get_mut().write_all(command.as_bytes()).ok()?;
        self.reply()
    }

    fn reply(&mut self) -> Option<Reply> {
        let mut line = String::new();
        self.stream
            .read_line(&mut line)
            .ok()
            .filter(|len| *len > 0)?;
        let (kind, rest) = line.trim_end().split_at(1);
        let number = || rest.parse::<i64>().expect("a number");
        Some(match kind {
            "+" => Reply::Text(rest.to_owned()),
            "-" => Reply::Error(rest.to_owned()),
            ":" => Reply::Number(number()),
            "$" | "*" if number() < 0 => Reply::Nothing,
            "$" => {
                let len = usize::try_from(number()).expect("a length");
                let mut bytes = vec![0; len + 2];
                self.stream.read_exact(&mut bytes).ok()?;
                bytes.truncate(len);
                Reply::Text(String::from_utf8_lossy(&bytes).into_owned())
            }
            "*" => {
                let items = (0..number()).map(|_| self.reply());
                Reply::List(items.collect::<Option<_>>()?)
            }
            other => panic!("an answer: {other}"),
        })
    }
}

impl Reply {
    pub(crate) fn list(self) -> Vec<Reply> {
        match self {
            Reply::List(items) => items,
            Reply::Nothing => Vec::new(),
            other => panic!("a list: {other:?}"),
        }
    }

    pub(crate) fn text(self) -> String {
        match self {
            Reply::Text(text) => text,
            other => panic!("a text: {other:?}"),
        }
    }
}

impl Entry {
    pub(crate) fn all(reply: Reply) -> Vec<Entry> {
        let entry = |reply: Reply| {
            let mut parts = reply.list().into_iter();
            let id = parts.next().expect("an id").text();
            let mut fields = BTreeMap::new();
            let mut texts = parts.next().expect("fields").list().into_iter();
            while let (Some(name), Some(value)) = (texts.next(), texts.next()) {
                fields.insert(name.text(), value.text());
            }
            Entry { id, fields }
        };
        reply.list().into_iter().map(entry).collect()
    }

    pub(crate) fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }

    pub(crate) fn delivered(&self) -> Delivered {
        let (sequence, index) = self.field("position").split_once('.').expect("a position");
        let number = |text: &str| text.parse().expect("a number");
        Delivered {
            id: self.field("id").to_owned(),
            position: (number(sequence), index.parse().expect("a number")),
            lane: self.field("lane").to_owned(),
            subject: self.fields.get("subject").cloned(),
            replay: self.fields.get("replay").cloned(),
        }
    }
}

const WAIT: Duration = Duration::from_mins(1);
