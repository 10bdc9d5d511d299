//! Files with tensors, by their extension.

use super::generate::parse_dtype;
use super::{Array, npy};
use nki_ir::{Code, DType, Diagnostic, Diagnostics, Tensor};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Npy,
    SafeTensors,
}

/// `PATH`, `PATH:DTYPE`, `PATH.safetensors#NAME:DTYPE`.
#[derive(Clone, Debug, PartialEq)]
pub struct FileRef {
    path: PathBuf,
    format: Format,
    /// Tensor within a `.safetensors` file.
    name: Option<String>,
    dtype: Option<DType>,
}

fn error(code: Code, path: &Path, what: impl std::fmt::Display) -> Diagnostics {
    Diagnostic::error(code, format!("{}: {what}", path.display())).into()
}

impl FileRef {
    /// `None` if the text does not name a file of a known format.
    ///
    /// # Errors
    /// `nki::usage`: an unknown dtype after the file's name.
    pub fn parse(text: &str) -> Result<Option<FileRef>, Diagnostics> {
        let (format, end) = match (find_extension(text, ".npy"), find_extension(text, ".safetensors")) {
            (Some(end), _) => (Format::Npy, end),
            (None, Some(end)) => (Format::SafeTensors, end),
            (None, None) => return Ok(None),
        };
        let path = PathBuf::from(&text[..end]);
        let rest = &text[end..];
        let (name, dtype) = match rest.rsplit_once(':') {
            Some((name, dtype)) => {
                (name, Some(parse_dtype(dtype).map_err(|e| error(Code::Usage, &path, e))?))
            }
            None => (rest, None),
        };
        let name = name.strip_prefix('#').map(str::to_string);
        Ok(Some(FileRef { path, format, name, dtype }))
    }

    /// Reads the tensor, for the parameter or result called `parameter`.
    pub fn read(&self, parameter: &str) -> Result<Tensor, Diagnostics> {
        let bytes = fs::read(&self.path).map_err(|e| error(Code::File, &self.path, e))?;
        let array = self.array(&bytes, parameter)?;
        array.into_tensor(self.dtype).map_err(|e| error(Code::Argument, &self.path, e))
    }

    fn array(&self, bytes: &[u8], parameter: &str) -> Result<Array, Diagnostics> {
        match self.format {
            Format::Npy => {
                let at =
                    |e: npy::Malformed| error(Code::File, &self.path, format!("byte {}: {}", e.at, e.what));
                npy::read(bytes).map_err(at)
            }
            #[cfg(feature = "cli")]
            Format::SafeTensors => super::safetensors::read(bytes, self.name.as_deref(), parameter)
                .map_err(|e| error(Code::File, &self.path, e)),
            #[cfg(not(feature = "cli"))]
            Format::SafeTensors => Err(without_feature(&self.path, parameter)),
        }
    }
}

#[cfg(not(feature = "cli"))]
fn without_feature(path: &Path, what: &str) -> Diagnostics {
    error(Code::File, path, format!("`{what}` needs the feature `cli` of crate `nki` for .safetensors files"))
}

/// Where the file's name ends: `.npy` or `.safetensors` followed by nothing, `#` or `:`.
fn find_extension(text: &str, extension: &str) -> Option<usize> {
    let ends = text.match_indices(extension).map(|(i, e)| i + e.len());
    ends.filter(|&end| text[end..].is_empty() || text[end..].starts_with(['#', ':'])).last()
}

/// A file that results are written to: `out.npy`, `out.npy:f32` (converted), `all.safetensors`, or `NAME=` and one of them
/// for one result of several.
#[derive(Clone, Debug, PartialEq)]
pub struct Sink {
    /// The result; `None`: all of them.
    pub result: Option<String>,
    file: FileRef,
}

impl std::str::FromStr for Sink {
    type Err = Diagnostics;

    /// # Errors
    /// `nki::usage`: not a file of a known format.
    fn from_str(text: &str) -> Result<Self, Diagnostics> {
        let (result, path) = match text.split_once('=') {
            Some((result, path)) if !result.contains(['/', '.', '\\']) => (Some(result.to_string()), path),
            _ => (None, text),
        };
        match FileRef::parse(path)? {
            Some(file) if file.name.is_none() => Ok(Sink { result, file }),
            _ => Err(Diagnostic::error(
                Code::Usage,
                format!("`{text}`: not a file name that ends in .npy or .safetensors"),
            )
            .help("write `-o out.npy`, `-o out.npy:f32`, `-o all.safetensors` or `-o NAME=out.npy`")
            .into()),
        }
    }
}

impl Sink {
    /// The file.
    pub fn path(&self) -> &Path {
        &self.file.path
    }

    /// Writes the results that the sink is for. The file appears complete or not at all.
    ///
    /// # Errors
    /// `nki::usage`: no such result, or several for a `.npy` file. `nki::argument`: the conversion is impossible.
    /// `nki::file`: the file cannot be written.
    pub fn write(&self, results: &[(&str, &Tensor)]) -> Result<(), Diagnostics> {
        let path = &self.file.path;
        let chosen: Vec<_> = match &self.result {
            Some(name) => results.iter().copied().filter(|(n, _)| n == name).collect(),
            None => results.to_vec(),
        };
        if let (Some(name), []) = (&self.result, chosen.as_slice()) {
            let hint = super::did_you_mean(name, results.iter().map(|r| r.0));
            return Err(error(Code::Usage, path, format!("no result is called `{name}`{hint}")));
        }
        let mut converted = Vec::with_capacity(chosen.len());
        for (name, tensor) in chosen {
            converted.push((name, self.converted(tensor)?));
        }
        let list: Vec<(&str, &Tensor)> = converted.iter().map(|(n, t)| (*n, t)).collect();
        let bytes = match (self.file.format, list.as_slice()) {
            (Format::Npy, [(_, tensor)]) => npy::write(tensor),
            (Format::Npy, several) => {
                let names: Vec<&str> = several.iter().map(|r| r.0).collect();
                let text = format!("{}: an .npy file takes one result, not {names:?}", path.display());
                return Err(Diagnostic::error(Code::Usage, text)
                    .help("write `-o NAME=FILE.npy` for each, or one .safetensors file")
                    .into());
            }
            #[cfg(feature = "cli")]
            (Format::SafeTensors, all) => {
                super::safetensors::write(all).map_err(|e| error(Code::File, path, e))?
            }
            #[cfg(not(feature = "cli"))]
            (Format::SafeTensors, _) => return Err(without_feature(path, "writing")),
        };
        write_file(path, &bytes)
    }

    fn converted(&self, tensor: &Tensor) -> Result<Tensor, Diagnostics> {
        let Some(dtype) = self.file.dtype else { return Ok(tensor.clone()) };
        let Tensor { dtype: from, shape, data } = tensor.clone();
        let array = Array { element: super::Element::Ours(from), shape, data };
        array.into_tensor(Some(dtype)).map_err(|e| error(Code::Argument, &self.file.path, e))
    }
}

/// A file being written. It appears under its name when it is complete: until [`finish`](FileWriter::finish) the bytes go to a
/// temporary file beside it, which a failure removes. What is no ordinary file (a pipe, a terminal) is written directly.
pub struct FileWriter {
    out: Option<std::io::BufWriter<fs::File>>,
    path: PathBuf,
    /// To be renamed, or removed.
    temporary: Option<PathBuf>,
}

impl FileWriter {
    /// Starts writing.
    ///
    /// # Errors
    /// `nki::file`.
    pub fn create(path: &Path) -> Result<FileWriter, Diagnostics> {
        let name = path.file_name().ok_or_else(|| error(Code::File, path, "is not a file name"))?;
        let found = fs::metadata(path);
        if found.as_ref().is_ok_and(fs::Metadata::is_dir) {
            return Err(error(Code::File, path, "is a directory"));
        }
        let direct = found.is_ok_and(|m| !m.is_file());
        let beside = path.with_file_name(format!(".{}.{}.part", name.to_string_lossy(), std::process::id()));
        let temporary = (!direct).then_some(beside);
        let file = match &temporary {
            Some(t) => fs::File::create(t),
            None => fs::OpenOptions::new().write(true).open(path),
        };
        let file = file.map_err(|e| error(Code::File, path, e))?;
        Ok(FileWriter { out: Some(std::io::BufWriter::new(file)), path: path.into(), temporary })
    }

    /// Puts the file in its place.
    ///
    /// # Errors
    /// `nki::file`: what could not be written.
    pub fn finish(mut self) -> Result<(), Diagnostics> {
        self.put().map_err(|e| error(Code::File, &self.path, e))
    }
}

impl FileWriter {
    fn put(&mut self) -> std::io::Result<()> {
        self.flush()?;
        // Closes the file.
        self.out = None;
        if let Some(temporary) = &self.temporary {
            fs::rename(temporary, &self.path)?;
            self.temporary = None;
        }
        Ok(())
    }
}

impl Write for FileWriter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.out.as_mut().map_or(Ok(0), |out| out.write(bytes))
    }
    fn flush(&mut self) -> std::io::Result<()> {
        self.out.as_mut().map_or(Ok(()), Write::flush)
    }
}

impl Drop for FileWriter {
    fn drop(&mut self) {
        if let Some(t) = self.temporary.take() {
            // Best effort: the error that matters has been reported.
            let _ = fs::remove_file(t);
        }
    }
}

/// Writes a whole file: complete, or not at all.
///
/// # Errors
/// `nki::file`.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<(), Diagnostics> {
    let mut file = FileWriter::create(path)?;
    file.write_all(bytes).map_err(|e| error(Code::File, path, e))?;
    file.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Source, to_f64};

    fn folder(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("nki-args-{name}-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        dir
    }
    fn source(path: &Path, suffix: &str) -> Result<Tensor, Diagnostics> {
        let text = format!("{}{suffix}", path.display());
        text.parse::<Source>()?.tensor("x", DType::F32, &[], 0)
    }

    #[test]
    fn results_come_back_as_arguments() {
        let dir = folder("round-trip");
        let t: Tensor =
            "normal:bf16[3,5]@1".parse::<Source>().unwrap().tensor("x", DType::F32, &[], 0).unwrap();
        let path = dir.join("t.npy");
        let sink = |suffix: &str| format!("{}{suffix}", path.display()).parse::<Sink>().unwrap();
        sink("").write(&[("out", &t)]).unwrap();
        assert_eq!(source(&path, "").unwrap(), t);
        sink(":f32").write(&[("out", &t)]).unwrap();
        let wide = source(&path, "").unwrap();
        assert_eq!((wide.dtype, to_f64(&wide)), (DType::F32, to_f64(&t)));
        assert_eq!(source(&path, ":bf16").unwrap(), t);
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1, "no temporary file stays behind");
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn failures_have_codes_and_leave_no_file() {
        let dir = folder("failures");
        let missing = source(&dir.join("none.npy"), "").unwrap_err();
        assert_eq!(missing.first_code(), Some(Code::File));
        assert!(missing.to_string().contains("none.npy"));
        let bad = dir.join("bad.npy");
        fs::write(&bad, b"\x93NUMPY\x01\x00\xff").unwrap();
        let e = source(&bad, "").unwrap_err();
        assert_eq!(e.first_code(), Some(Code::File));
        assert!(e.to_string().contains("bad.npy: byte 9: "), "{e}");
        assert_eq!(source(&bad, ":bf17").unwrap_err().first_code(), Some(Code::Usage));

        let t = Tensor::zeros(DType::F32, &[1]);
        let sink: Sink = format!("{}", dir.join("no/such/out.npy").display()).parse().unwrap();
        assert_eq!(sink.write(&[("out", &t)]).unwrap_err().first_code(), Some(Code::File));
        let sink: Sink = format!("{}", dir.join("out.npy").display()).parse().unwrap();
        assert_eq!(sink.write(&[("a", &t), ("b", &t)]).unwrap_err().first_code(), Some(Code::Usage));
        let sink: Sink = format!("outt={}", dir.join("out.npy").display()).parse().unwrap();
        assert!(sink.write(&[("out", &t)]).unwrap_err().to_string().contains("did you mean `out`?"));
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1);
        assert_eq!("out.txt".parse::<Sink>().unwrap_err().first_code(), Some(Code::Usage));
        fs::remove_dir_all(dir).unwrap();
    }

    #[cfg(feature = "cli")]
    #[test]
    fn safetensors_hold_all_results() {
        let dir = folder("safetensors");
        let (a, b) = (Tensor::zeros(DType::F8E4M3, &[2]), Tensor::zeros(DType::BF16, &[3, 1]));
        let path = dir.join("all.safetensors");
        format!("{}", path.display()).parse::<Sink>().unwrap().write(&[("a", &a), ("b", &b)]).unwrap();
        assert_eq!(source(&path, "#b").unwrap(), b);
        assert_eq!(source(&path, "#a").unwrap(), a);
        assert_eq!(source(&path, "#a:f32").unwrap().dtype, DType::F32);
        assert_eq!(source(&path, "#c").unwrap_err().first_code(), Some(Code::File));
        fs::remove_dir_all(dir).unwrap();
    }
}
