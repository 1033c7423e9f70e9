//! What a request of an `http` sink holds. It stands outside that sink's feature, for the configuration is read in
//! every build.

/// What a request holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestForm {
    /// The raw body of a notification, with the headers that were kept.
    Notification,
    /// An event: its data in the body, its attributes in header fields.
    Binary,
    /// An event as JSON.
    Structured,
    /// A list of events as JSON; so many at most.
    Batch(usize),
}
