//! The page: a frame of HTML with style, script, report, program and events put in.

use super::encode;
use super::record::{Queue, Recorder};
use crate::cost::sides;
use crate::program::{MInst, MKind, Placement, Program, STREAM_ENGINES};
use crate::report::SimReport;
use crate::timing::Stall;
use crate::trace::accesses;
use nki_ir::kernel::{Attr, Space};
use nki_ir::loc::SourceLoc;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{self, Write};

const FRAME: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/page.css");
/// In the order of the page.
const SCRIPTS: [&str; 4] = [
    include_str!("page/data.js"),
    include_str!("page/timeline.js"),
    include_str!("page/panels.js"),
    include_str!("page/main.js"),
];

/// Gives the text of a source file, where there is one.
pub type Source<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Strings, each once.
#[derive(Default)]
struct Table {
    known: BTreeMap<String, usize>,
    list: Vec<Value>,
}

impl Table {
    fn index(&mut self, key: String, value: impl FnOnce() -> Value) -> usize {
        if let Some(&i) = self.known.get(&key) {
            return i;
        }
        self.list.push(value());
        self.known.insert(key, self.list.len() - 1);
        self.list.len() - 1
    }
    fn text(&mut self, text: &str) -> usize {
        self.index(text.to_string(), || text.into())
    }
}

/// Longest line of source that is embedded, and lines around the ones that instructions come from.
const COLUMNS: usize = 160;
const AROUND: u32 = 3;

impl Recorder<'_> {
    /// Writes the page: `report` is of the run that was recorded; `source` gives the kernel's source, of which the lines that
    /// instructions come from are shown. `more` is put beside the report, as `advice` for instance.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn page(
        mut self,
        report: &SimReport,
        more: &Value,
        source: Source<'_>,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        self.finish();
        let title = format!("{} on {} (simulated)", report.kernel, report.target);
        for part in FRAME.split_inclusive("-->") {
            let (html, slot) = part.rsplit_once("<!--").unwrap_or((part, ""));
            out.write_all(html.as_bytes())?;
            match slot.trim_end_matches("-->") {
                "title" => out.write_all(escaped(&title).as_bytes())?,
                "style" => out.write_all(STYLE.as_bytes())?,
                "script" => SCRIPTS.iter().try_for_each(|s| out.write_all(s.as_bytes()))?,
                "report" => embed(out, &report.to_json())?,
                "more" => embed(out, more)?,
                "program" => embed(out, &self.program_json(source))?,
                "events" => encode::base64(out, &self.bytes())?,
                _ => {}
            }
        }
        out.flush()
    }

    fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let lanes: Vec<_> = self.queues.iter().flat_map(|q| &q.lanes).collect();
        encode::count(&mut out, 5 + lanes.len());
        self.engines.iter().for_each(|t| encode::slices(&mut out, t));
        lanes.iter().for_each(|t| encode::slices(&mut out, t));
        self.gaps.iter().for_each(|t| encode::gaps(&mut out, t));
        encode::lives(&mut out, &self.lives);
        out
    }

    fn program_json(&self, source: Source<'_>) -> Value {
        let header = self.program.header();
        // Places of many buffers have names of kilobytes.
        let labels: Vec<String> = header.placements.iter().map(Placement::label).collect();
        let (mut names, mut places, mut details) = (Table::default(), Table::default(), Table::default());
        let mut lines: BTreeMap<String, Vec<u32>> = BTreeMap::new();
        let mut insts = Vec::with_capacity(self.program.flat.insts.len());
        for inst in &self.program.flat.insts {
            let name = names.text(name(inst));
            let at = header.locs.resolve(inst.loc);
            let place = at.map(|at| {
                lines.entry(at.file.clone()).or_default().push(at.line);
                places.index(format!("{at:?}"), || place(&at))
            });
            let text = detail(header, &labels, inst);
            let touched: Vec<u32> = accesses(inst)
                .iter()
                .filter(|(_, a)| a.space.on_chip())
                .filter_map(|(_, a)| a.object)
                .collect();
            let detail = details.index(text.clone(), || json!([text, touched]));
            insts.push(match movement(inst) {
                0 => json!([name, place, detail]),
                way => json!([name, place, detail, way]),
            });
        }
        let lane = |(q, queue): (usize, &Queue)| {
            (0..queue.lanes.len()).map(move |l| json!({ "queue": q, "lane": l })).collect::<Vec<_>>()
        };
        json!({
            "engines": STREAM_ENGINES.map(|e| e.name()),
            "lanes": self.queues.iter().enumerate().flat_map(lane).collect::<Vec<_>>(),
            "reasons": (0..Stall::COUNT).map(|i| Stall::from_index(i).to_string()).chain(["trigger".into()]).collect::<Vec<_>>(),
            "names": names.list,
            "places": places.list,
            "details": details.list,
            "insts": insts,
            "placements": header.placements.iter().zip(&labels).map(|(p, label)| json!({
                "name": label,
                "space": p.space.name(),
                "partition": p.start_partition,
                "partitions": p.partitions,
                "offset": p.offset,
                "bytes": p.bytes,
            })).collect::<Vec<_>>(),
            "sources": sources(&lines, source),
            "dropped": self.dropped,
        })
    }
}

/// 1 for a load, 2 for a store, 3 for another transfer, 0 for what is none.
fn movement(inst: &MInst) -> u8 {
    let MKind::Dma { op, operands, .. } = &inst.kind else { return 0 };
    match sides(*op, operands).map(|(dst, src)| (dst.space, src.space)) {
        Some((dst, Space::Hbm)) if dst.on_chip() => 1,
        Some((Space::Hbm, src)) if src.on_chip() => 2,
        _ => 3,
    }
}

fn name(inst: &MInst) -> &'static str {
    match &inst.kind {
        MKind::Compute { op, .. } | MKind::Dma { op, .. } => op.name(),
        MKind::Sync => "sync",
        MKind::RegLoad { .. } => "reg_load",
        MKind::RegStore { .. } => "reg_store",
        MKind::RegMove { .. } => "reg_move",
        MKind::For { .. } => "for",
        MKind::While { .. } => "while",
        MKind::If { .. } => "if",
    }
}

fn place(at: &SourceLoc) -> Value {
    let call = |(kernel, call): &(String, Option<(String, u32, u32)>)| match call {
        Some((file, line, _)) => format!("{kernel}, called at {file}:{line}"),
        None => kernel.clone(),
    };
    json!([at.file, at.line, at.column, at.stack.iter().map(call).collect::<Vec<_>>()])
}

/// Function, destination and sources by name.
fn detail(header: &Program, labels: &[String], inst: &MInst) -> String {
    let object = |space: Space, object: Option<u32>| {
        let name = object.and_then(|o| match space {
            Space::Hbm => header.tensors.get(o as usize).map(|t| t.name.as_str()),
            _ => labels.get(o as usize).map(String::as_str),
        });
        name.unwrap_or(space.name()).to_string()
    };
    let all = accesses(inst);
    let side = |written: bool| {
        let part = all.iter().filter(|x| x.0 == written);
        let text = |a: &crate::program::Access| {
            let counts: Vec<String> = a.dims.iter().map(|d| d.count.to_string()).collect();
            let partitions = if a.space.on_chip() { format!("{}x", a.partitions) } else { String::new() };
            format!("{} {}[{partitions}{}]", object(a.space, a.object), a.dtype, counts.join(","))
        };
        part.map(|(_, a)| text(a)).collect::<Vec<_>>().join(", ")
    };
    let functions = match &inst.kind {
        MKind::Compute { attrs, .. } => attrs
            .iter()
            .filter_map(|a| match a {
                Attr::Act(f) => Some(f.to_string()),
                Attr::Alu(f) => Some(f.to_string()),
                _ => None,
            })
            .collect::<Vec<_>>()
            .join(" "),
        _ => String::new(),
    };
    let (to, from) = (side(true), side(false));
    let arrow = if to.is_empty() || from.is_empty() { "" } else { " \u{2190} " };
    format!("{functions} {to}{arrow}{from}").trim().to_string()
}

/// For each file the lines around those that instructions come from, by number.
fn sources(lines: &BTreeMap<String, Vec<u32>>, source: Source<'_>) -> Value {
    let mut out = serde_json::Map::new();
    for (file, wanted) in lines {
        let Some(text) = source(file) else { continue };
        let all: Vec<&str> = text.lines().collect();
        let mut shown = serde_json::Map::new();
        for &line in wanted {
            for n in line.saturating_sub(AROUND)..=line.saturating_add(AROUND) {
                let Some(text) = (n as usize).checked_sub(1).and_then(|i| all.get(i)) else { continue };
                let text: String = text.chars().take(COLUMNS).collect();
                shown.insert(n.to_string(), text.into());
            }
        }
        out.insert(file.clone(), shown.into());
    }
    Value::Object(out)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// JSON within a script element, which must not end early.
fn embed(out: &mut dyn Write, value: &Value) -> io::Result<()> {
    out.write_all(value.to_string().replace('<', "\\u003c").as_bytes())
}
