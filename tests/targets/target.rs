//! What a system has to do so that the cases of the matrix can be tried with it.

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

    /// Starts a server with everything in place, or prints why it cannot be had.
    fn start() -> Option<Self>;

    /// The lines of a `[[sink]]` that delivers here, with the name [`SINK`].
    fn sink(&self) -> String;

    /// An environment variable with the password that the server takes, where it asks for one.
    fn password(&self) -> (&'static str, &'static str);

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
