//! Taking the position over: what is read on a connect, what is decided, and why the sink stops.

use super::super::Address;
use super::super::said::{described, error_in, pairs};
use super::keeper::{Open, Redis, asked, not_understood, worked};
use super::state::{EntryId, Foreign, Observed, State, field};
use crate::sink::stream::positioned::{Decision, Failure, Known, Stored};
use ::redis::{Cmd, Value, pipe};

impl Redis {
    /// Reads what is there, decides, and takes the hash over.
    pub(super) async fn take(
        &self,
        open: &mut Open,
        replay: &str,
        known: &Known,
        process: &str,
    ) -> Result<Decision, Failure> {
        let mut commands = pipe();
        commands.cmd("WATCH").arg(&self.hash);
        commands.cmd("HGETALL").arg(&self.hash);
        commands.cmd("XINFO").arg("STREAM").arg(&self.kept.stream);
        let answers = asked(open, &commands).await?;
        let [watched, hash, stream] = answers.as_slice() else {
            return Err(not_understood());
        };
        worked(watched)?;
        worked(hash)?;
        let hash = pairs(hash);
        let decision = if replay.is_empty() {
            let found = self.found(open, &hash, stream).await?;
            self.take_live(open, &found, known, process).await?
        } else {
            self.take_replay(open, &hash, replay, known, process)
                .await?
        };
        open.taken.push(replay.to_owned());
        Ok(decision)
    }

    async fn found(
        &self,
        open: &mut Open,
        hash: &[(String, &Value)],
        stream: &Value,
    ) -> Result<Observed, Failure> {
        let top = match error_in(stream) {
            None => field(&pairs(stream), "last-generated-id"),
            Some(error) if error.details().unwrap_or_default().contains("no such key") => {
                if !self.options.create {
                    return Err(Failure::Retry(self.missing()));
                }
                None
            }
            Some(error) => return Err(Failure::Retry(described(error))),
        };
        let top = top.as_deref().and_then(EntryId::parse);
        let mut found = Observed {
            state: State::parse(hash),
            top: top.unwrap_or_default(),
            has_own_top: true,
            accepted: field(hash, "accepted").as_deref().and_then(EntryId::parse),
        };
        if let Some(state) = &found.state
            && state.top != found.top
        {
            let mut commands = pipe();
            let range = commands.cmd("XRANGE").arg(&self.kept.stream);
            let own = state.top.to_string();
            range.arg(&own).arg(&own).arg("COUNT").arg(1);
            let answers = asked(open, &commands).await?;
            let answer = answers.first().ok_or_else(not_understood)?;
            // One that is not there has no entries.
            found.has_own_top = matches!(answer, Value::Array(entries) if !entries.is_empty());
        }
        Ok(found)
    }

    async fn take_live(
        &self,
        open: &mut Open,
        found: &Observed,
        known: &Known,
        process: &str,
    ) -> Result<Decision, Failure> {
        let (journal, moved) = (&self.kept.journal, self.kept.cursor.moved);
        let stored = found.stored(journal, known, moved);
        let stored = stored.map_err(|foreign| Failure::Stop(self.stopped(&foreign, found.top)))?;
        let decision = known.decide(&stored, process)?;
        let base = found.base(journal, decision.at)?;
        let at = decision.at.to_string();
        let mut set = Cmd::new();
        set.arg("HSET").arg(&self.hash);
        for (name, value) in [
            ("sink", &self.options.sink),
            ("journal", journal),
            ("position", &at),
            ("from", &at),
            ("top", &found.top.to_string()),
            ("base", &base.to_string()),
            ("moved", &decision.moved.to_string()),
            ("writer", &open.writer),
        ] {
            set.arg(name).arg(value);
        }
        let mut forget = Cmd::new();
        forget.arg("HDEL").arg(&self.hash).arg("accepted");
        self.transact(open, [set, forget]).await?;
        (open.base, open.top) = (base, found.top);
        Ok(decision)
    }

    /// What is live is left as it is.
    async fn take_replay(
        &self,
        open: &mut Open,
        hash: &[(String, &Value)],
        replay: &str,
        known: &Known,
        process: &str,
    ) -> Result<Decision, Failure> {
        let is_known = field(hash, "replay").as_deref() == Some(replay);
        let at = field(hash, "replay_position").filter(|_| is_known);
        let at = at.and_then(|at| at.parse().ok());
        let stored = Stored {
            at: at.unwrap_or(known.begin()),
            moved: 0,
            writer: field(hash, "writer").unwrap_or_default(),
        };
        if !stored.writer.is_empty() && !stored.writer.starts_with(process) {
            // What is live says why, and comes first once it has left the replay.
            return Err(Failure::Stop(self.displaced()));
        }
        let decision = known.decide(&stored, process)?;
        let mut set = Cmd::new();
        set.arg("HSET").arg(&self.hash);
        set.arg("writer")
            .arg(&open.writer)
            .arg("replay")
            .arg(replay);
        set.arg("replay_position").arg(decision.at.to_string());
        self.transact(open, [set]).await?;
        Ok(decision)
    }

    pub(super) fn missing(&self) -> String {
        let stream = &self.kept.stream;
        format!(
            "the stream {stream} is not there: make it (XGROUP CREATE {stream} GROUP $ MKSTREAM), or set create = true"
        )
    }

    fn displaced(&self) -> String {
        format!(
            "another process writes to the stream {} as this sink: that one goes on, and this sink has stopped; if this \
             one is to go on, stop the other one and run `hookline sink resume`, else remove the sink from the configuration",
            self.kept.stream
        )
    }

    /// Why it stops, and the command that accepts what is there.
    fn stopped(&self, foreign: &Foreign, top: EntryId) -> String {
        let stream = &self.kept.stream;
        let why = match foreign {
            Foreign::Journal(journal) => format!(
                "the stream {stream} belongs to another journal, {journal}, and this one is {}",
                self.kept.journal
            ),
            Foreign::Entries => format!(
                "the stream {stream} has entries, the last one with the id {top}, and no position of a sink stands beside it"
            ),
            Foreign::Behind(own) => format!(
                "somebody else writes to the stream {stream}: its last entry has the id {top}, and the last one of the sink \
                 had {own}"
            ),
        };
        let server = match &self.options.target.address {
            Address::Tcp(host, port) => format!("-h {} -p {port}", quoted(host)),
            Address::Unix(path) => format!("-s {}", quoted(&path.display().to_string())),
        };
        format!(
            "{why}; name another stream, or accept it: redis-cli {server} -n {} HSET {} accepted {top}, and then `hookline \
             sink resume {}`; new entries get ids above that one",
            self.options.target.database,
            quoted(&self.hash),
            quoted(&self.options.sink),
        )
    }
}

/// A word of a command line.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "./_-:".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}
