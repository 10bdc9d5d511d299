//! The `loc(file:line:column in frame)` trailers and the `locations` section that explains their numbers.

use super::names::{Bare, Quoted};
use crate::kernel::Kernel;
use crate::loc::{Frame, Loc, LocData};
use std::collections::HashMap;
use std::fmt::Write;

/// Numbers files and call frames in the order in which trailers mention them.
pub struct Trailers<'k> {
    kernel: &'k Kernel,
    file_ids: HashMap<u32, usize>,
    files: Vec<u32>,
    frame_ids: HashMap<u32, usize>,
    frames: Vec<Entry>,
}

struct Entry {
    frame: u32,
    call: Option<LocData>,
}

impl<'k> Trailers<'k> {
    pub fn new(kernel: &'k Kernel) -> Self {
        Trailers {
            kernel,
            file_ids: HashMap::new(),
            files: Vec::new(),
            frame_ids: HashMap::new(),
            frames: Vec::new(),
        }
    }

    /// `loc(0:12:5)`, `loc(0:12:5 in 2)`, or `loc(?)` for a position that is not in the kernel's table.
    pub fn text(&mut self, loc: Loc) -> String {
        match self.kernel.locs.locs.get(loc.0 as usize) {
            Some(data) => {
                let frame = self.frame(data.frame);
                self.position(data, frame)
            }
            None => "loc(?)".into(),
        }
    }

    fn position(&mut self, data: &LocData, frame: usize) -> String {
        let LocData { line, column, .. } = data;
        let file = self.file(data.file);
        if frame == 0 {
            format!("loc({file}:{line}:{column})")
        } else {
            format!("loc({file}:{line}:{column} in {frame})")
        }
    }

    fn file(&mut self, file: u32) -> usize {
        *self.file_ids.entry(file).or_insert_with(|| {
            self.files.push(file);
            self.files.len() - 1
        })
    }

    /// Numbers `frame` after the frames it was called from.
    fn frame(&mut self, frame: Frame) -> usize {
        let mut chain: Vec<u32> = Vec::new();
        let mut at = frame.0;
        // A malformed table may lead back into the chain: the call is cut there.
        while !self.frame_ids.contains_key(&at) && !chain.contains(&at) {
            chain.push(at);
            match self.call(at) {
                Some(call) => at = call.frame.0,
                None => break,
            }
        }
        for &f in chain.iter().rev() {
            let call = self.call(f).filter(|call| self.frame_ids.contains_key(&call.frame.0)).cloned();
            if let Some(call) = &call {
                self.file(call.file);
            }
            self.frame_ids.insert(f, self.frames.len());
            self.frames.push(Entry { frame: f, call });
        }
        self.frame_ids[&frame.0]
    }

    fn call(&self, frame: u32) -> Option<&'k LocData> {
        let call = self.kernel.locs.frames.get(frame as usize)?.call?;
        self.kernel.locs.locs.get(call.0 as usize)
    }

    /// The section that lists the numbered files and frames; empty if no trailer named any.
    pub fn section(mut self) -> String {
        if self.files.is_empty() {
            return String::new();
        }
        let mut frames = String::new();
        for (i, entry) in std::mem::take(&mut self.frames).iter().enumerate() {
            let data = self.kernel.locs.frames.get(entry.frame as usize);
            let name = data.map_or(&self.kernel.name, |f| &f.kernel);
            let _ = write!(frames, "  frame {i} @{}", Bare(name));
            if let Some(call) = &entry.call {
                let parent = self.frame_ids[&call.frame.0];
                let _ = write!(frames, " {}", self.position(call, parent));
            }
            frames.push('\n');
        }
        let mut out = String::from("locations {\n");
        for (i, file) in self.files.iter().enumerate() {
            let name = self.kernel.locs.files.get(*file as usize).map_or("?", |f| f);
            let _ = writeln!(out, "  file {i} {}", Quoted(name));
        }
        out.push_str(&frames);
        out.push_str("}\n");
        out
    }
}
