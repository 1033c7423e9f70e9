//! Entries whose ids are their positions, each event exactly once.
//!
//! Each batch is one transaction (`MULTI` … `EXEC`) that adds the entries and moves the sink's position, a hash beside
//! the stream, `STREAM.position`:
//!
//! | field | is |
//! |---|---|
//! | `sink`, `journal` | whose position it is |
//! | `position` | the first event that is not in the stream yet, `SEQ.INDEX` |
//! | `top` | the id of the last entry that the sink has added, or found when it began |
//! | `from` | where `position` was before the batch that ends with `top` |
//! | `base` | what is added to the sequence for an id; 0, unless ids had to go on above others |
//! | `moved` | when a person moved the cursor, as the cursor says it |
//! | `writer` | the connection that has taken it over |
//! | `replay`, `replay_position` | the same of the last replay |
//! | `accepted` | set by a person: an id that the sink may go on behind although it is not its own |
//!
//! The id of an entry is `SEQUENCE-INDEX` of its event, as long as nobody has moved the cursor back or accepted what
//! others have written: then new ones go on above what is there, and `base` says by how much. The server refuses an id
//! that is not above the last one. That is never taken for success: who has written it is not known.
//!
//! On every connect the last id of the stream and the position are read. If they do not fit, somebody else has written
//! to the stream, or it belongs to another journal: the sink stops, and its reason names the command that accepts that.
//! A stream that was removed and made anew goes on with what is not in it of the last batch.
//!
//! # What a connection leaves behind
//!
//! A transaction of a connection that was given up may still lie at the server, and be done later. So the hash is
//! watched (`WATCH`) from the end of each transaction on, which the answer confirms before the next one is sent, and a
//! connection first takes the hash over by writing its name: a transaction of another connection that comes later finds
//! that it was touched, and does nothing. `EXEC` of one of ours that gives nothing says the same.
//!
//! What a transaction has done is looked at entry by entry: a refused id, or a stream that was removed (`NOMKSTREAM`),
//! puts the position back where it was.
//!
//! # Replays
//!
//! go to `STREAM.replay`, with the server's ids, each once: their position moves in the same transaction. That stream
//! is made, since somebody has asked for the replay.

mod keeper;
mod state;
mod taking;

pub use keeper::{KeptPosition, Redis};
