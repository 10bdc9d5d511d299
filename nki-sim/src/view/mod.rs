//! The run as a page: one HTML file that needs no network, with a timeline to zoom, the memories over time, and the report.
//!
//! [`Recorder`] listens to a run and keeps what happened, 32 bytes an event; [`Recorder::page`] writes the page. The figures on
//! it are the report's JSON, embedded as it is. The timeline's events are embedded as varints, delta-coded track by track
//! (`encode`), which `page/data.js` reads.

mod encode;
mod page;
mod record;

pub use page::Source;
pub use record::Recorder;
