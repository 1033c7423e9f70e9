//! What a system has to do so that the cases of the matrix can be tried with it.

use super::common::{Running, Site};
use super::stage;
use std::path::PathBuf;

/// An event as it lies in the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Delivered {
    /// The event's `id`.
    pub(crate) id: String,
    /// Where it stands in the journal: sequence and index.
    pub(crate) position: (u64, u64),
    pub(crate) lane: String,
    /// The conversation, if it has one.
    pub(crate) subject: Option<String>,
    /// The name of the replay that brought it.
    pub(crate) replay: Option<String>,
}

/// A private server of one system. Dropped, its process ends and its directory goes.
pub(crate) trait Target: Sized {
    /// What is in the target once, even if Hookline or the target was killed. Otherwise an event may lie there twice,
    /// with the same id.
    const EXACTLY_ONCE: bool;

    /// Repeats that Hookline sends are known and counted (`hookline_sink_known_total`). Otherwise the sink sees by the
    /// target's position that it has them, and sends none.
    const COUNTS_KNOWN: bool;

    /// Cases that have no meaning for it, each with the reason.
    const NO_MEANING: &'static [(&'static str, &'static str)] = &[];

    /// Attempts fail while it is away (`hookline_sink_retries_total`). Otherwise events only wait.
    const SHOWS_FAILURES: bool = true;

    /// The sink knows how much it takes before it sends. Otherwise it learns that something is too large by trying.
    const KNOWS_SIZES: bool = true;

    /// Set back to an earlier state, it says so to the sink, which goes on from there. Otherwise somebody has to say
    /// where, with `hookline cursor seek`.
    const SAYS_WHERE_IT_IS: bool = false;

    /// Starts a server with everything in place, or prints why it cannot be had.
    fn start() -> Option<Self>;

    /// The lines of a `[[sink]]` that delivers here, with the name [`SINK`].
    fn sink(&self) -> String;

    /// An environment variable with the password that the server takes, where it asks for one.
    fn password(&self) -> (&'static str, &'static str);

    /// Starts Hookline for its `life`, with all that the target wants of that.
    fn serve(&mut self, site: &Site, life: u32) -> Running {
        stage::start(site, life)
    }

    /// From the next [`sink`](Target::sink) on, an event is given up after a few attempts, where those are counted.
    fn give_up_soon(&mut self) {}

    /// Hookline has ended: waits until all is kept that was handed over.
    fn settle(&mut self) {}

    /// Where all that it keeps is, to be put there again while it does not run.
    fn state(&self) -> Option<PathBuf> {
        None
    }

    /// `kill -9`.
    fn kill(&mut self);

    /// Starts it again after that, at the same address and with what it has kept.
    fn start_again(&mut self);

    /// SIGSTOP.
    fn stop(&mut self);

    /// SIGCONT.
    fn go_on(&mut self);

    /// From now on it refuses the password (false), or takes it again; connections that are there end.
    fn take_login(&mut self, takes: bool);

    /// Takes what events are stored in (stream, table, topic) away, with all that is in it.
    fn remove(&mut self);

    /// Makes it.
    fn create(&mut self);

    /// From now on it takes events of so many bytes, everything included; connections that are there end. False if it
    /// has no such limit.
    fn limit(&mut self, bytes: usize) -> bool;

    /// Everything that it has, in its order.
    fn delivered(&mut self) -> Vec<Delivered>;
}

/// The name of the sink.
pub(crate) const SINK: &str = "target";
