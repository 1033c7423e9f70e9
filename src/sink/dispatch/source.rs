//! Where what is delivered comes from.

/// Where something came from, which is also how urgent it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Source {
    /// A lane, by its place.
    Lane(usize),
    /// A dead letter that is tried again.
    DeadLetter,
    Replay,
}

impl Source {
    /// All of them, the most urgent first.
    pub(super) const ALL: [Source; 5] = [
        Source::Lane(0),
        Source::Lane(1),
        Source::Lane(2),
        Source::DeadLetter,
        Source::Replay,
    ];

    /// What is not asked for once more.
    pub(super) const LANES: &[Source] = &[Source::Lane(0), Source::Lane(1), Source::Lane(2)];

    pub(super) fn place(self) -> usize {
        match self {
            Source::Lane(place) => place,
            Source::DeadLetter => 3,
            Source::Replay => 4,
        }
    }
}
