//! Views of row-major matrices inside slices.

/// A read-only matrix: `rows` rows of `cols` elements, row `i` starting at element `i * stride`.
#[derive(Clone, Copy, Debug)]
pub struct MatRef<'a, T> {
    data: &'a [T],
    rows: usize,
    cols: usize,
    stride: usize,
}

/// A mutable matrix, laid out as [`MatRef`]; elements between `cols` and `stride` are never touched.
#[derive(Debug)]
pub struct MatMut<'a, T> {
    data: &'a mut [T],
    rows: usize,
    cols: usize,
    stride: usize,
}

/// Asserts that the matrix lies inside `len` elements.
#[track_caller]
fn check(len: usize, rows: usize, cols: usize, stride: usize) {
    if rows == 0 || cols == 0 {
        return;
    }
    let end = (rows - 1).checked_mul(stride).and_then(|n| n.checked_add(cols));
    let apart = rows == 1 || stride >= cols;
    assert!(
        apart && end.is_some_and(|n| n <= len),
        "a {rows} x {cols} matrix with row stride {stride} does not fit {len} elements without overlap"
    );
}

impl<'a, T> MatRef<'a, T> {
    /// A view of `rows` x `cols` elements with the given row stride in elements.
    ///
    /// # Panics
    /// When rows overlap or the last one ends outside `data`.
    #[track_caller]
    pub fn new(data: &'a [T], rows: usize, cols: usize, stride: usize) -> Self {
        check(data.len(), rows, cols, stride);
        MatRef { data, rows, cols, stride }
    }

    /// A view of `rows` x `cols` elements without gaps between rows.
    #[track_caller]
    pub fn dense(data: &'a [T], rows: usize, cols: usize) -> Self {
        Self::new(data, rows, cols, cols)
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Elements from the start of one row to the start of the next.
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// The elements of row `row`.
    ///
    /// # Panics
    /// When there is no such row.
    pub fn row(&self, row: usize) -> &'a [T] {
        assert!(row < self.rows, "row {row} of {}", self.rows);
        if self.cols == 0 { &[] } else { &self.data[row * self.stride..][..self.cols] }
    }

    /// Address of element (0, 0).
    pub fn as_ptr(&self) -> *const T {
        self.data.as_ptr()
    }
}

impl<'a, T> MatMut<'a, T> {
    /// A view of `rows` x `cols` elements with the given row stride in elements.
    ///
    /// # Panics
    /// When rows overlap or the last one ends outside `data`.
    #[track_caller]
    pub fn new(data: &'a mut [T], rows: usize, cols: usize, stride: usize) -> Self {
        check(data.len(), rows, cols, stride);
        MatMut { data, rows, cols, stride }
    }

    /// A view of `rows` x `cols` elements without gaps between rows.
    #[track_caller]
    pub fn dense(data: &'a mut [T], rows: usize, cols: usize) -> Self {
        Self::new(data, rows, cols, cols)
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Elements from the start of one row to the start of the next.
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// Address of element (0, 0).
    pub fn as_mut_ptr(&mut self) -> *mut T {
        self.data.as_mut_ptr()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views_accept_what_fits_and_refuse_the_rest() {
        let data = [0u8; 10];
        let ok = |r, c, s| std::panic::catch_unwind(|| MatRef::new(&data, r, c, s).rows()).is_ok();
        assert!(ok(2, 5, 5) && ok(3, 2, 4) && ok(1, 10, 0) && ok(0, 99, 1) && ok(7, 0, 99));
        assert!(!ok(2, 5, 6), "the second row ends outside");
        assert!(!ok(2, 4, 3), "the rows overlap");
        assert!(!ok(3, 1, usize::MAX), "the size overflows");
    }
}
